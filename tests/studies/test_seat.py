"""What a seat needs: measured on small notebooks whose needs are known."""

import time
from pathlib import Path

import nbformat
import pytest
from small_course import contents

from spokendigits.errors import CourseError
from spokendigits.files import read_json
from studies import seat

ROOT = Path(__file__).resolve().parents[2]
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
HEAVY = """import os, subprocess, sys, time
block = b"x" * 200_000_000
child = "import time; block = b'x' * 100_000_000; print('made', flush=True); time.sleep(2)"
helper = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE)
helper.stdout.readline()
while time.process_time() < 2:
    pass
open(os.environ["SPOKENDIGITS_HOME"] + "/made", "wb").write(b"x" * 5_000_000)
helper.wait()"""


def write(folder: Path, source: str) -> Path:
    path = folder / "notebooks" / "01_small.ipynb"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)], metadata=KERNEL), path)
    return path


@pytest.mark.nightly
def test_a_notebook_is_measured_with_the_processes_that_it_starts(tmp_path):
    (tmp_path / "home").mkdir()
    needs = seat.measure(write(tmp_path, HEAVY), tmp_path / "home")
    # 300 MB of it are the two blocks; the rest are Python and the kernel, twice and once.
    assert 300 < needs["peak_mb"] < 500 and 1.5 < needs["cpu_seconds"] < 8 and needs["seconds"] >= 2
    assert 4.9 < needs["disk_mb"] < 5.2, "the executed notebook is not the course's"


@pytest.mark.slow
def test_one_notebook_measured_again_leaves_the_others_and_one_that_fails_is_no_measurement(tmp_path, monkeypatch):
    monkeypatch.setattr(seat.lanes, "repository", lambda: tmp_path)
    monkeypatch.setattr(seat, "lab_mb", lambda: 80.0)
    contents(tmp_path, "01_small")
    first = write(tmp_path, "raise ValueError('the lamp is out')")
    with pytest.raises(CourseError, match=r"01_small\.ipynb could not be measured:(?s:.*)the lamp is out"):
        seat.measure_all([])
    assert not (tmp_path / "book").exists()
    with pytest.raises(CourseError, match=r"unknown notebook"):
        seat.measure_all(["02_nowhere"])
    (first.parent / "02_other.ipynb").write_text(first.read_text())
    contents(tmp_path, "01_small", "02_other")
    little = {"peak_mb": 1000.0, "cpu_seconds": 60.0, "seconds": 40.0, "disk_mb": 100.0}
    more = {"peak_mb": 2000.0, "cpu_seconds": 480.0, "seconds": 200.0, "disk_mb": 50.0}
    answers = iter([little, little, more])
    monkeypatch.setattr(seat, "measure", lambda path, home: next(answers))
    seat.measure_all([])
    seat.measure_all(["02_other"])
    stored = read_json(tmp_path / "book" / "results" / "seat.json")
    assert stored["notebooks"] == {"01_small": little, "02_other": more}
    # 2.08 GB and a third, in halves; 20 seats, 480 s each, on 16 cores.
    expected = {"peak_mb": "2,000", "whole_gb": "2.1", "limit_gb": "3", "disk_mb": "150"}
    expected |= {"class_gb": "60", "class_disk_gb": "3", "longest": "2", "class_minutes": "10"}
    assert {name: stored["prose"][f"seat_{name}"] for name in expected} == expected


def test_the_stored_measurement_is_of_every_notebook():
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
    assert read_json(ROOT / "book/results/seat.json")["notebooks"].keys() == notebooks


@pytest.mark.nightly
def test_jupyterlab_is_ended_when_it_was_measured(tmp_path):
    with seat.lab(tmp_path) as server:
        for _ in range(300):
            if "is running at" in (tmp_path / "log").read_text():
                break
            time.sleep(0.2)
        assert server.poll() is None and seat.memory([server]) > 30e6
    assert not server.is_running() and not (tmp_path / "server.json").exists()

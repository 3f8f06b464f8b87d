"""What a seat needs: measured on small notebooks whose needs are known."""

import json
import time
from pathlib import Path

import nbformat
import pytest

from spokendigits.errors import CourseError
from studies import seat

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
    path = folder / "01_small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)], metadata=KERNEL), path)
    return path


def test_a_notebook_is_measured_with_the_processes_that_it_starts(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    found = seat.measure(write(tmp_path, HEAVY), home)
    # 300 MB of it are the two blocks; the rest are Python and the kernel, twice and once.
    assert 300 < found["peak_mb"] < 500
    assert 1.5 < found["cpu_seconds"] < 8
    assert 4.9 < found["disk_mb"] < 5.2, "the executed notebook is not the course's"
    assert found["seconds"] >= 2


def test_a_notebook_that_fails_is_no_measurement(tmp_path, monkeypatch):
    monkeypatch.setattr(seat, "RESULTS", tmp_path / "seat.json")
    monkeypatch.setattr(seat, "lab_mb", lambda: 1.0)
    monkeypatch.setattr(seat.course, "notebooks_folder", lambda: tmp_path)
    write(tmp_path, "raise ValueError('the lamp is out')")
    with pytest.raises(CourseError, match=r"01_small\.ipynb could not be measured:(?s:.*)the lamp is out"):
        seat.seat([])
    assert not seat.RESULTS.exists()
    with pytest.raises(CourseError, match=r"unknown notebook"):
        seat.seat(["02_nowhere"])


def test_one_notebook_measured_again_leaves_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(seat, "RESULTS", tmp_path / "seat.json")
    monkeypatch.setattr(seat, "lab_mb", lambda: 80.0)
    monkeypatch.setattr(seat, "size", lambda folder: 1_000_000_000)
    monkeypatch.setattr(seat.os, "getloadavg", lambda: (0.25, 0, 0))
    monkeypatch.setattr(seat.course, "notebooks_folder", lambda: tmp_path)
    write(tmp_path, "")
    (tmp_path / "02_other.ipynb").write_text((tmp_path / "01_small.ipynb").read_text())
    one = {"peak_mb": 1000.0, "cpu_seconds": 60.0, "seconds": 40.0, "disk_mb": 100.0}
    more = {"peak_mb": 2000.0, "cpu_seconds": 480.0, "seconds": 200.0, "disk_mb": 50.0}
    answers = iter([one, one, more])
    monkeypatch.setattr(seat, "measure", lambda path, home: next(answers))
    seat.seat([])
    seat.seat(["02_other"])
    stored = json.loads(seat.RESULTS.read_text())
    assert stored["notebooks"] == {"01_small": one, "02_other": more}
    prose = stored["prose"]
    assert prose["seat_peak_mb"] == "2,000" and prose["seat_whole_gb"] == "2.1"
    assert prose["seat_limit_gb"] == "3", "2.08 GB and a third, in halves"
    assert prose["seat_disk_mb"] == "150" and prose["seat_class_gb"] == "60" and prose["seat_class_disk_gb"] == "3"
    assert prose["seat_load"] == "0.2"
    assert prose["seat_longest"] == "2" and prose["seat_class_minutes"] == "10", "20 seats, 480 s each, 16 cores"


def test_the_stored_measurement_is_of_every_notebook_and_gives_the_pages_their_numbers():
    stored = json.loads(seat.RESULTS.read_text())
    notebooks = {path.stem for path in (seat.RESULTS.parents[2] / "notebooks").glob("[0-9]*.ipynb")}
    assert stored["notebooks"].keys() == notebooks
    assert stored["prose"] == seat.prose(stored)


def test_jupyterlab_is_ended_when_it_was_measured(tmp_path):
    with seat.lab(tmp_path) as server:
        for _ in range(300):
            if "is running at" in (tmp_path / "log").read_text():
                break
            time.sleep(0.2)
        assert server.poll() is None and seat.memory([server]) > 30e6
    assert not server.is_running() and not (tmp_path / "server.json").exists()

"""The benchmark: every contestant runs, what is divided is divided right, and a failure leaves the old numbers."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from spokendigits.corpora import folder
from spokendigits.errors import CourseError
from spokendigits.files import read_json
from studies import bench_report as report
from studies.bench import __main__ as command
from studies.bench.contestants import CONTESTANTS, FULL, QUICK, held_out, part, prepare

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the benchmark needs Linux or macOS")
ONCE = [name for name in CONTESTANTS if name.startswith("memory")]
TURN = [name for name in CONTESTANTS if name not in ("prepare", *ONCE)]


def answer(seconds: float, clips: int = 100, peak_mb: float = 500.0) -> dict:
    return {"seconds": seconds, "clips": clips, "peak_mb": peak_mb}


def test_ratios_are_of_clips_a_second_within_a_round_against_the_fastest_rival():
    rounds = [
        {"step-bare": answer(1, 90), "step-ours": answer(1), "loop-ours": answer(10), "loop-librosa": answer(30)},
        {"step-bare": answer(10), "step-ours": answer(10, 200), "loop-ours": answer(10), "loop-librosa": answer(25)},
        {"step-bare": answer(1), "step-ours": answer(1, 50), "loop-ours": answer(10), "loop-librosa": answer(60)},
        {"memory-1": answer(1, 10, 400), "memory-10": answer(10), "memory-100": answer(200, 1000, 440)},
    ]
    for answers, seconds in zip(rounds, (20, 90, 50), strict=False):
        answers["loop-torchaudio"] = answer(seconds)
    assert report.ratios(rounds) == pytest.approx(
        {"train_vs_bare_step": 100 / 90, "train_vs_copied_loop": 2.5, "memory_growth": 1.1, "time_growth": 2}
    )
    assert report.ratios([{"clips-ours": answer(1)}]) == {}, "nothing to compare with"


@pytest.mark.slow
def test_every_contestant_does_its_work_on_recordings_of_audiomnists_shape(tmp_path, monkeypatch, own_home):
    recordings = tmp_path / "recordings"
    prepare(recordings, QUICK)
    corpus, drawn = folder.read(recordings), part(recordings, 50)
    assert len(corpus) == QUICK.speakers * QUICK.takes * 10 and len(corpus.speakers) == QUICK.speakers
    facts = soundfile.info(corpus.file(0))
    assert (facts.samplerate, facts.channels, facts.subtype) == (48_000, 1, "PCM_16")
    assert list(drawn.table.groupby("digit").size()) == [5] * 10 and drawn.table["path"].is_unique
    assert drawn.table.equals(part(recordings, 50).table) and len(part(recordings, 47)) == 47
    parts = held_out(corpus)
    assert sorted(np.concatenate([parts.train, parts.validation])) == list(range(len(corpus)))

    batch, epochs = QUICK.recipe().batch_size, QUICK.recipe().epochs
    clips = {"clips": QUICK.clips, "frontend": QUICK.frontend, "step": QUICK.steps * batch, "predict": QUICK.predict}
    clips |= {"loop": QUICK.loop * epochs, "memory-1": QUICK.memory, "memory-10": 10 * QUICK.memory}
    for number, name in enumerate([*TURN, "memory-1", "memory-10"]):
        monkeypatch.setenv("SPOKENDIGITS_HOME", str(own_home / f"{number}"))
        measured = CONTESTANTS[name](recordings, QUICK)
        assert measured["clips"] == clips.get(name, clips.get(name.partition("-")[0])), name
        assert measured["seconds"] > 0, name
        if stages := measured.get("stages"):
            seconds, peaks = zip(*(stage.values() for stage in stages.values()), strict=True)
            assert sum(seconds) == pytest.approx(measured["seconds"], rel=0.01)
            assert peaks[0] > 50 and list(peaks) == sorted(peaks) and peaks[-1] < 20_000
    monkeypatch.setattr("studies.bench.contestants.FURTHEST", 1e-9)
    with pytest.raises(CourseError, match="the frontends differ by"):
        CONTESTANTS["frontend-librosa"](recordings, QUICK)


@pytest.mark.nightly  # 20 s: every process imports PyTorch anew
def test_a_quick_benchmark_from_the_command_line(own_home):
    """In fresh processes, as a reader starts it. The book's numbers stay as they are."""
    before = command.RESULTS.read_bytes()
    line = [sys.executable, "-m", "studies.bench", "--quick", "--only", "clips", "--rounds", "1"]
    done = subprocess.run(line, cwd=command.ROOT, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.count("clips-ours") == done.stdout.count("clips-librosa") == 1
    stored = read_json(own_home / "runs" / "bench.json")
    (answers,) = stored["rounds"]
    assert stored["quick"] and list(answers) == ["clips-ours", "clips-librosa"]
    assert all(one["clips"] == QUICK.clips and 20 < one["peak_mb"] < 5000 for one in answers.values())
    assert stored["prose"]["bench_clips_vs_librosa"] == f"{stored['clips_vs_librosa']:.2f}"
    assert stored.keys() < read_json(command.RESULTS).keys(), "only what was compared"
    assert stored["made"].keys() == read_json(command.RESULTS)["made"].keys()
    assert stored["made"]["recipe"]["seed"] == 0 and stored["made"]["cores"] == os.cpu_count()
    assert (own_home / "runs" / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert command.RESULTS.read_bytes() == before


@pytest.fixture
def turns(monkeypatch, tmp_path):
    """Runs no contestant, and takes another place for the book; returns the names in the order of their turns."""
    names = []

    def contest(name: str, files: Path, quick: bool) -> dict:
        names.append(name)
        if name == "predict-librosa" and len(names) > 100:
            raise CourseError(f"{name} ended with status 1")
        facts = {"device": "test", "precision": "no", "bytes": 1}
        return facts if name == "prepare" else {**answer(1.0), "predict_seconds": 0.5}

    monkeypatch.setattr(command, "contest", contest)
    monkeypatch.setattr(command, "check_room", lambda folder, sizes: None)
    monkeypatch.setattr(command, "RESULTS", tmp_path / "bench.json")
    monkeypatch.setattr(command, "PICTURE", tmp_path / "bench.png")
    return names


def test_contestants_take_turns_and_only_a_whole_benchmark_that_succeeds_goes_to_the_book(turns, own_home, capsys):
    for options in (["--quick"], ["--only", "step", "clips"]):
        assert command.main(options) == 0
        (own_home / "runs" / "bench.json").unlink()
        assert not command.RESULTS.exists()
    turns.clear()
    assert command.main(["--rounds", "2"]) == 0
    assert turns[0] == "prepare" and sorted(turns[1:13]) == sorted(TURN) and turns[1:] == turns[1:13] * 2 + ONCE
    stored = read_json(command.RESULTS)
    assert all(stored[name] == 1 for name in (*report.SPEED, "memory_growth")) and not stored["quick"]
    command.PICTURE.unlink()
    turns.extend(["played"] * 100)  # from here on a contestant fails
    before = command.RESULTS.read_text()
    assert command.main([]) == 2
    assert capsys.readouterr().err == "error: predict-librosa ended with status 1\n"
    assert command.RESULTS.read_text() == before and not command.PICTURE.exists()


def test_mistakes_and_failures_are_one_clear_line(tmp_path, turns, capsys, monkeypatch):
    for options, said in (
        (["--only", "frontent"], "Did you mean 'frontend'?"),
        (["--rounds", "0"], "at least one round"),
    ):
        assert command.main(options) == 2 and said in capsys.readouterr().err
    assert turns == []
    monkeypatch.undo()
    with pytest.raises(CourseError, match=r"(?s)clips-ours ended with status 1; nothing was written.*No such file"):
        command.contest("clips-ours", tmp_path / "missing", quick=True)
    needed = 300_000 * 22_050 * 2
    for free, fits in ((needed, False), (2 * needed, True)):
        monkeypatch.setattr("shutil.disk_usage", lambda folder, free=free: SimpleNamespace(free=free))
        if fits:
            command.check_room(tmp_path, FULL)
        else:
            with pytest.raises(CourseError, match=r"needs 14\.6 GB for a while, and 13\.2 GB are free"):
                command.check_room(tmp_path, FULL)

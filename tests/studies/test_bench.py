"""The benchmark: every contestant runs, what is divided is divided right, and a failure leaves the old numbers."""

import json
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
from studies.bench import __main__ as command
from studies.bench import report
from studies.bench.contestants import CONTESTANTS, FULL, QUICK, held_out, part, prepare

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the benchmark needs Linux or macOS")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    files = tmp_path_factory.mktemp("bench") / "recordings"
    prepare(files, QUICK)
    return files


def answer(seconds: float, clips: int = 100, peak_mb: float = 500.0) -> dict:
    return {"seconds": seconds, "clips": clips, "peak_mb": peak_mb}


def planted() -> list[dict]:
    """Three rounds of everything but memory, and one of memory."""
    names = [name for _, names in report.COMPARISONS.values() for name in names]
    turns = [name for name in names if not name.startswith("memory")]
    sizes = {"memory-1": answer(1, 10, 400), "memory-10": answer(10, 100, 420), "memory-100": answer(200, 1000, 440)}
    return [{name: answer(seconds) for name in turns} for seconds in (1.0, 2.0, 4.0)] + [sizes]


def test_a_ratio_is_taken_within_a_round_before_the_median():
    rounds = [
        {"step-bare": answer(1, 90), "step-ours": answer(1, 100)},
        {"step-bare": answer(10, 100), "step-ours": answer(10, 200)},  # a slow minute for both
        {"step-bare": answer(1, 100), "step-ours": answer(1, 50)},
    ]
    assert report.ratios(rounds) == {"train_vs_bare_step": pytest.approx(100 / 90)}


def test_the_copied_loop_to_beat_is_the_faster_one_of_its_round():
    rounds = [
        {"loop-ours": answer(10), "loop-librosa": answer(30), "loop-torchaudio": answer(20)},
        {"loop-ours": answer(10), "loop-librosa": answer(25), "loop-torchaudio": answer(90)},
        {"loop-ours": answer(10), "loop-librosa": answer(60), "loop-torchaudio": answer(50)},
    ]
    assert report.ratios(rounds)["train_vs_copied_loop"] == pytest.approx(2.5)


def test_speed_counts_clips_and_growth_compares_the_largest_corpus_with_the_smallest():
    rounds = [{"clips-ours": answer(2, 200), "clips-librosa": answer(5, 100)}, *planted()[-1:]]
    found = report.ratios(rounds)
    assert found["clips_vs_librosa"] == pytest.approx(100 / 20)
    assert found["memory_growth"] == pytest.approx(440 / 400) and found["time_growth"] == pytest.approx(2)
    assert report.ratios([{"clips-ours": answer(1)}]) == {}, "nothing to compare with"


def test_the_figure_tells_its_numbers_in_words():
    picture = report.figure({"rounds": planted()})._repr_mimebundle_()
    assert picture["image/png"].startswith(b"\x89PNG")
    words = picture["text/plain"]
    assert "the course 50, librosa 50" in words and "440 MB for 1,000 clips" in words
    assert all(title.capitalize() in words for title, _ in report.COMPARISONS.values())


def test_recordings_have_audiomnists_shape_and_are_drawn_evenly(recordings):
    corpus = folder.read(recordings)
    assert len(corpus) == QUICK.speakers * QUICK.takes * 10 and len(corpus.speakers) == QUICK.speakers
    facts = soundfile.info(corpus.file(0))
    assert (facts.samplerate, facts.channels, facts.subtype) == (48_000, 1, "PCM_16")
    drawn = part(recordings, 50)
    assert list(drawn.table.groupby("digit").size()) == [5] * 10 and drawn.table["path"].is_unique
    assert drawn.table.equals(part(recordings, 50).table) and len(part(recordings, 47)) == 47
    parts = held_out(corpus)
    assert sorted(np.concatenate([parts.train, parts.validation])) == list(range(len(corpus)))


@pytest.mark.parametrize("name", [name for name in CONTESTANTS if name not in ("prepare", "memory-100")])
def test_every_contestant_does_its_work(recordings, name):
    found = CONTESTANTS[name](recordings, QUICK)
    batch, epochs = QUICK.recipe().batch_size, QUICK.recipe().epochs
    clips = {
        "clips": QUICK.clips,
        "frontend": QUICK.frontend,
        "step": QUICK.steps * batch,
        "loop": QUICK.loop * epochs,
        "predict": QUICK.predict,
        "memory": QUICK.memory * int(name.rpartition("-")[2] if "memory" in name else 1),
    }
    assert found["clips"] == clips[name.partition("-")[0]] and 0 < found["seconds"] < 100
    if "memory" in name:
        stages = found["stages"]
        assert sum(stage["seconds"] for stage in stages.values()) == pytest.approx(found["seconds"], rel=0.01)
        assert 50 < stages["clips"]["peak_mb"] <= stages["train"]["peak_mb"] <= stages["predict"]["peak_mb"] < 20_000


def test_frontends_that_differ_are_not_compared(recordings, monkeypatch):
    monkeypatch.setattr("benchmarks.contestants.FURTHEST", 1e-9)
    with pytest.raises(CourseError, match="the frontends differ by"):
        CONTESTANTS["frontend-librosa"](recordings, QUICK)


def test_a_quick_benchmark_from_the_command_line(own_home):
    """In fresh processes, as a reader starts it. The book's numbers stay as they are."""
    held = command.RESULTS.read_bytes() if command.RESULTS.exists() else None
    line = [sys.executable, "-m", "benchmarks", "--quick", "--only", "clips", "--rounds", "1"]
    done = subprocess.run(line, cwd=ROOT, env=os.environ, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.count("clips-ours") == done.stdout.count("clips-librosa") == 1
    found = json.loads((own_home / "runs" / "bench.json").read_text())
    (answers,) = found["rounds"]
    assert found["quick"] and list(answers) == ["clips-ours", "clips-librosa"]
    assert all(one["clips"] == QUICK.clips and 20 < one["peak_mb"] < 5000 for one in answers.values())
    assert 0.01 < found["clips_vs_librosa"] < 100
    assert found["prose"]["bench_clips_vs_librosa"] == f"{found['clips_vs_librosa']:.2f}"
    assert set(found["prose"]) >= {"bench_clips_ours_rate", "bench_date", "bench_device", "bench_alt"}
    assert all(isinstance(words, str) for words in found["prose"].values())
    made = found["made"]
    assert made["recipe"]["seed"] == 0 and made["versions"]["librosa"] and made["cores"] == os.cpu_count()
    assert (own_home / "runs" / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert (command.RESULTS.read_bytes() if command.RESULTS.exists() else None) == held


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """Runs no contestant, and takes another place for the book; returns the names in the order of their turns."""
    turns = []

    def contest(name: str, files: Path, quick: bool) -> dict:
        turns.append(name)
        facts = {"device": "test", "precision": "no", "bytes": 1}
        return facts if name == "prepare" else {**answer(1.0), "predict_seconds": 0.5}

    monkeypatch.setattr(command, "contest", contest)
    monkeypatch.setattr(command, "check_room", lambda folder, sizes: None)
    monkeypatch.setattr(command, "RESULTS", tmp_path / "bench.json")
    monkeypatch.setattr(command, "PICTURE", tmp_path / "bench.png")
    return turns


def test_contestants_take_turns_and_a_whole_benchmark_goes_to_the_book(stand_in):
    assert command.main(["--rounds", "2"]) == 0
    assert stand_in[0] == "prepare"
    once = [name for name in CONTESTANTS if name.startswith("memory")]
    turn = [name for name in CONTESTANTS if name not in ("prepare", *once)]
    assert sorted(stand_in[1:13]) == sorted(turn) and stand_in[1:] == stand_in[1:13] * 2 + once
    found = json.loads(command.RESULTS.read_text())
    thresholds = ("train_vs_bare_step", "train_vs_copied_loop", "clips_vs_librosa", "frontend_vs_librosa")
    assert all(found[name] == 1 for name in (*thresholds, "memory_growth")) and not found["quick"]
    assert command.PICTURE.is_file()


@pytest.mark.parametrize("options", [["--quick"], ["--only", "step", "clips"]])
def test_a_part_of_a_benchmark_stays_out_of_the_book(stand_in, options, own_home):
    assert command.main(options) == 0
    assert (own_home / "runs" / "bench.json").is_file() and not command.RESULTS.exists()


def test_a_failing_contestant_leaves_the_old_results(stand_in, monkeypatch, capsys):
    command.RESULTS.write_text("old")
    stand_in_contest = command.contest

    def contest(name: str, files: Path, quick: bool) -> dict:
        if name == "step-ours":
            raise CourseError("step-ours ended with status 1")
        return stand_in_contest(name, files, quick)

    monkeypatch.setattr(command, "contest", contest)
    assert command.main([]) == 2
    assert capsys.readouterr().err == "error: step-ours ended with status 1\n"
    assert command.RESULTS.read_text() == "old" and not command.PICTURE.exists()


def test_what_a_failing_contestant_said_is_shown(tmp_path):
    with pytest.raises(CourseError, match=r"(?s)clips-ours ended with status 1; nothing was written.*no such folder"):
        command.contest("clips-ours", tmp_path / "missing", quick=True)


def test_mistakes_on_the_command_line(stand_in, capsys):
    assert command.main(["--only", "frontent"]) == 2
    assert "Did you mean 'frontend'?" in capsys.readouterr().err
    assert command.main(["--rounds", "0"]) == 2
    assert "at least one round" in capsys.readouterr().err
    assert stand_in == []


def test_a_full_disk_is_told_before_anything_starts(tmp_path, monkeypatch):
    needed = 300_000 * 22_050 * 2

    def leave(free: int) -> None:
        monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))

    leave(needed)
    with pytest.raises(CourseError, match=r"needs 14\.6 GB for a while, and 13\.2 GB are free"):
        command.check_room(tmp_path, FULL)
    leave(2 * needed)
    command.check_room(tmp_path, FULL)

"""Files are whole or not there, what a killed process left is cleared away, and a damaged file is named."""

import os
import signal
import subprocess
import sys

import pytest

from spokendigits.errors import CourseError
from spokendigits.files import atomic_file, atomic_folder, data_folder, find_data, read_json, write_json

WRITES = """
import os, sys, time
from pathlib import Path
from spokendigits.files import atomic_file, atomic_folder
place = Path(sys.argv[1])
with atomic_folder(place / "corpus") as folder, atomic_file(place / "model.bin") as file:
    (folder / "half").touch()
    file.write_text("half")
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_later_process_clears_away_what_a_killed_one_left_and_nothing_else(tmp_path):
    pytest.importorskip("fcntl")

    def begin() -> subprocess.Popen:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-c", WRITES, str(tmp_path)], **pipes)
        assert process.stdout.readline() == b"ready\n"
        return process

    killed = begin()
    killed.kill()
    killed.communicate()
    (tmp_path / ".hidden").write_text("the reader's own")
    left = set(tmp_path.iterdir())
    assert len(left) == 3
    for path in left:
        os.utime(path, (0, 0))
    live = begin()
    held = set(tmp_path.iterdir()) - left
    assert {path.name for path in set(tmp_path.iterdir()) - held} == {".hidden"}, "what the killed one had"
    for path in held:
        os.utime(path, (0, 0))
    other = begin()
    assert held < set(tmp_path.iterdir()), "what a live one holds stays, however old"
    for process in (live, other):
        process.communicate(b"")
        assert process.returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {".hidden", "corpus", "model.bin"}
    assert (tmp_path / "model.bin").read_text() == "half" and (tmp_path / "corpus" / "half").is_file()


def test_what_was_whole_comes_back_from_between_two_renames(tmp_path):
    pytest.importorskip("fcntl")
    for name in ("new", "old"):
        (tmp_path / ".corpus-unfinished-ab" / name).mkdir(parents=True)
        (tmp_path / ".corpus-unfinished-ab" / name / "file").write_text(name)
    os.utime(tmp_path / ".corpus-unfinished-ab", (0, 0))
    write_json(tmp_path / "other.json", {})
    assert (tmp_path / "corpus" / "file").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "other.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("atomic", [atomic_file, atomic_folder])
def test_a_failure_leaves_what_was_there(atomic, error, tmp_path):
    with atomic(tmp_path / "kept") as path:
        (path / "old" if path.is_dir() else path).write_text("old")
    with pytest.raises(error), atomic(tmp_path / "kept"):
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("content", ['{"recipe": {', "", "[]", '"text"', "3", '{"other": 1}', "\xff", "[" * 10**5])
@pytest.mark.parametrize(("name", "delete"), [("run.json", "run"), ("model.sha256.json", "it")])
def test_a_damaged_file_is_named_and_what_to_delete(name, delete, content, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).write_text(content, encoding="latin-1")
    with pytest.raises(CourseError, match=rf"run/{name}: damaged \(.+\)\. Delete \S*{delete}, and make it again\.$"):
        read_json(tmp_path / "run" / name, "recipe")


ASKED = """
import sys, time
from spokendigits.app import cli
from spokendigits.files import atomic_folder

def doctor(options):
    with atomic_folder(place):
        print("ready", flush=True)
        time.sleep(60)

place, sys.argv[1] = sys.argv[1], "doctor"
cli.COMMANDS["doctor"] = doctor
sys.exit(cli.main())
"""


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_asked_to_end_tidies_up(asked, tmp_path):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", ASKED, str(tmp_path / "corpus")], **pipes)
    assert process.stdout.readline() == b"ready\n" and len(list(tmp_path.iterdir())) == 1
    process.send_signal(asked)
    said = process.communicate()[1].decode()
    assert process.returncode == 130 and "stopped. Nothing half-done was kept" in said and "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_a_mistyped_folder_of_data_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(tmp_path / "dta"))
    with pytest.raises(CourseError, match=r"SPOKENDIGITS_DATA=\S+dta: no such folder"):
        find_data("fsdd")
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(data_folder()))  # as in CI, before the first fetch
    assert find_data("fsdd") is None

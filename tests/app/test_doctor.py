"""The doctor answers in one line each, whatever is missing, and never with a traceback."""

import importlib.metadata
import shutil
import sys
from collections import namedtuple

import pytest

from spokendigits.app import doctor
from spokendigits.corpora import espeak


@pytest.fixture(autouse=True)
def a_place_of_its_own(monkeypatch, tmp_path):
    """No corpora at hand, and no network: a proxy that refuses at once."""
    monkeypatch.setenv("SPOKENDIGITS_HOME", str(tmp_path))
    monkeypatch.delenv("SPOKENDIGITS_DATA", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


def ask(monkeypatch, *names):
    """The answers to some of the questions."""
    monkeypatch.setattr(doctor, "QUESTIONS", {name: doctor.QUESTIONS[name] for name in names})
    return doctor.checks()


def test_a_good_computer_is_ready(capsys):
    status = doctor.report()
    said = capsys.readouterr().out.splitlines()
    assert status == 0 and said[-1] == "Ready."
    assert all(line.startswith(("[ OK ] ", "[WARN] ")) for line in said[:-1])
    for name in ("Python", "numpy", "torch", "espeak-ng", "audio", "GPU", "machine", "disk", "network", "data"):
        assert any(line[7:].startswith(f"{name}: ") for line in said), name
    assert "[ OK ] espeak-ng: 1." in "\n".join(said)
    assert sum("does not answer" in line for line in said) == 2
    assert any("[WARN] data: fsdd is not here yet: run `spokendigits fetch fsdd`" in line for line in said)


def test_missing_and_old_packages(monkeypatch, capsys):
    real = importlib.metadata.version

    def version(name):
        if name in ("soxr", "papermill"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.1" if name == "timm" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = {check.name: check for check in ask(monkeypatch, "packages")}
    assert found["soxr"].status == doctor.FAIL and "missing. Run `pip install 'soxr>=" in found["soxr"].detail
    assert found["timm"].status == doctor.FAIL and "0.1 does not fit. Run `pip install 'timm>=" in found["timm"].detail
    assert found["papermill"].status == doctor.WARN and "spokendigits[course]" in found["papermill"].detail
    assert found["numpy"].status == doctor.OK
    assert doctor.report() == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 problem(s) to mend, marked FAIL."


@pytest.mark.parametrize(
    ("package", "question"),
    [("soundfile", "audio"), ("packaging.requirements", "packages"), ("torch", "GPU"), ("pandas", "data")],
)
def test_a_package_that_cannot_be_imported_is_an_answer(monkeypatch, package, question):
    for name in [name for name in sys.modules if name.startswith("spokendigits.corpora")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # makes `import` raise
    monkeypatch.delattr("spokendigits.corpora", raising=False)
    (answer,) = ask(monkeypatch, question)
    assert answer.status == doctor.FAIL and package.split(".")[0] in answer.detail
    assert "Run `pip install" in answer.detail and "\n" not in answer.detail


def test_the_course_itself_not_installed(monkeypatch):
    def requires(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    (answer,) = ask(monkeypatch, "packages")
    assert answer.status == doctor.FAIL and "Run `pip install -e .`" in answer.detail


@pytest.mark.parametrize(
    ("version", "status"), [((3, 10, 4), doctor.FAIL), ((3, 11, 7), doctor.OK), ((3, 13, 0), doctor.FAIL)]
)
def test_python(monkeypatch, version, status):
    monkeypatch.setattr(sys, "version_info", version)
    (answer,) = ask(monkeypatch, "Python")
    assert answer.status == status
    assert ("Make an environment with Python 3.11 or 3.12" in answer.detail) == (status == doctor.FAIL)


def test_torch_builds_that_do_not_match(monkeypatch):
    def load(name):
        raise RuntimeError("operator torchvision::nms does not exist\nand forty lines more")

    monkeypatch.setattr(doctor.importlib, "import_module", load)
    (answer,) = ask(monkeypatch, "torch, torchaudio, torchvision")
    assert answer.status == doctor.FAIL
    assert "(operator torchvision::nms does not exist). Install all three again" in answer.detail


def test_audio_that_comes_back_changed(monkeypatch):
    import soundfile

    real = soundfile.read
    monkeypatch.setattr(soundfile, "read", lambda *a, **k: (0.5 * real(*a, **k)[0], 22_050))
    (answer,) = ask(monkeypatch, "audio")
    assert answer.status == doctor.FAIL and "soundfile soxr" in answer.detail


def test_espeak_that_is_silent(monkeypatch, tmp_path):
    dead = tmp_path / "dead.py"
    dead.write_text("""print('{"error": "speaker s01: came out silent or broken."}')""")
    monkeypatch.setattr(espeak, "__file__", str(dead))
    (answer,) = ask(monkeypatch, "espeak-ng")
    assert answer == (doctor.FAIL, "espeak-ng", "speaker s01: came out silent or broken.")


def test_full_disk_and_read_only_disk(monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12, 10**9))
    (answer,) = ask(monkeypatch, "disk")
    assert answer.status == doctor.FAIL and "1.0 GB free" in answer.detail and "make room" in answer.detail
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    (answer,) = ask(monkeypatch, "disk")
    assert answer.status == doctor.FAIL and "Set SPOKENDIGITS_HOME" in answer.detail


def test_data_that_is_there_and_data_that_is_broken(monkeypatch, tmp_path, fsdd_root):
    (tmp_path / "data" / "synthetic").mkdir(parents=True)
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(fsdd_root.parent))
    synthetic, voices, fsdd, audiomnist = ask(monkeypatch, "data")
    assert voices == (doctor.OK, "data", "voices is not here yet: made when first needed")
    assert synthetic.status == doctor.WARN and "no synthetic corpus here" in synthetic.detail
    assert fsdd == (doctor.OK, "data", f"fsdd: 3,000 clips in {fsdd_root}")
    assert audiomnist.status == doctor.WARN and "spokendigits fetch audiomnist" in audiomnist.detail


def test_a_question_that_breaks_does_not_stop_the_others(monkeypatch, capsys):
    def broken():
        raise ZeroDivisionError("a bug\nof ours")

    monkeypatch.setattr(doctor, "QUESTIONS", {"first": broken, "Python": doctor.QUESTIONS["Python"]})
    assert doctor.report() == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("[FAIL] first: ZeroDivisionError: a bug of ours.") and said[1].startswith("[ OK ] Python")

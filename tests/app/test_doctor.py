"""The doctor answers in one line each, whatever is missing, and never with a traceback."""

import importlib.metadata
import shutil
import sys
from collections import namedtuple

import pytest

from spokendigits.app import doctor
from spokendigits.app.doctor import FAIL, OK, WARN
from spokendigits.corpora import espeak


@pytest.fixture(autouse=True)
def a_place_of_its_own(monkeypatch, tmp_path):
    """No corpora at hand, and no network: a proxy that refuses at once."""
    monkeypatch.setenv("SPOKENDIGITS_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("SPOKENDIGITS_DATA", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("urllib.request._opener", None)  # it keeps the proxies of its first call, for later tests too


def ask(monkeypatch, *names):
    """The answers to some of the questions."""
    monkeypatch.setattr(doctor, "QUESTIONS", {name: doctor.QUESTIONS[name] for name in names})
    return list(doctor.checks())


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
    answers = {answer.name: answer for answer in ask(monkeypatch, "packages")}
    for name, status, advice in (
        ("soxr", FAIL, "missing. Run `pip install 'soxr>="),
        ("timm", FAIL, "0.1 does not fit. Run `pip install 'timm>="),
        ("papermill", WARN, "spokendigits[course]"),
        ("numpy", OK, ""),
    ):
        assert answers[name].status == status and advice in answers[name].detail
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
    assert answer.status == FAIL and package.split(".")[0] in answer.detail
    assert "Run `pip install" in answer.detail and "\n" not in answer.detail


def no_course(name):
    raise importlib.metadata.PackageNotFoundError(name)


def torn_apart(name):
    raise RuntimeError("operator torchvision::nms does not exist\nand forty lines more")


usage = namedtuple("usage", "total used free")


@pytest.mark.parametrize(
    ("question", "target", "value", "status", "advice"),
    [
        ("packages", (importlib.metadata, "requires"), no_course, FAIL, "Run `pip install -e .`"),
        ("Python", (sys, "version_info"), (3, 10, 4), FAIL, "Make an environment with Python 3.11 to 3.13"),
        ("Python", (sys, "version_info"), (3, 11, 7), OK, "."),
        ("Python", (sys, "version_info"), (3, 13, 1), OK, "."),
        ("Python", (sys, "version_info"), (3, 14, 0), FAIL, "Make an environment with Python 3.11 to 3.13"),
        (
            "torch, torchaudio, torchvision",
            (doctor.importlib, "import_module"),
            torn_apart,
            FAIL,
            "'torch<2.12,>=2.6' 'torchaudio<2.12,>=2.6' 'torchvision<0.27,>=0.21'`",
        ),
        ("disk", (shutil, "disk_usage"), lambda path: usage(10**12, 10**12, 10**9), FAIL, "1.0 GB free"),
        ("disk", (doctor.os, "access"), lambda path, mode: False, FAIL, "Set SPOKENDIGITS_HOME"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(monkeypatch, question, target, value, status, advice):
    monkeypatch.setattr(*target, value)
    (answer,) = ask(monkeypatch, question)
    assert answer.status == status and advice in answer.detail
    assert ("Make an environment" in answer.detail) == (question == "Python" and status == FAIL)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "socks://127.0.0.1:1"])
def test_a_proxy_that_the_hub_cannot_be_asked_through_is_said(monkeypatch, proxy):
    monkeypatch.setenv("ALL_PROXY", proxy)
    said = ask(monkeypatch, "network")[0]
    assert said.status == WARN and "unset ALL_PROXY" in said.detail and "\n" not in said.detail


def test_a_place_for_what_librosa_compiles(monkeypatch, tmp_path):
    assert ask(monkeypatch, "cache") == [(OK, "cache", "there is a place for what librosa compiles")]
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: path == tmp_path)
    (answer,) = ask(monkeypatch, "cache")
    assert answer.status == WARN and "set NUMBA_CACHE_DIR" in answer.detail
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert ask(monkeypatch, "cache")[0].status == OK


def test_audio_that_comes_back_changed_and_a_voice_that_is_silent(monkeypatch, tmp_path):
    import soundfile

    real, dead = soundfile.read, tmp_path / "dead.py"
    monkeypatch.setattr(soundfile, "read", lambda *a, **k: (0.5 * real(*a, **k)[0], 22_050))
    dead.write_text("""print('{"error": "speaker s01: came out silent or broken."}')""")
    monkeypatch.setattr(espeak, "__file__", str(dead))
    audio, voice = ask(monkeypatch, "audio", "espeak-ng")
    assert audio.status == FAIL and "soundfile soxr" in audio.detail
    assert voice == (FAIL, "espeak-ng", "speaker s01: came out silent or broken.")


def test_data_that_is_there_and_data_that_is_broken(monkeypatch, tmp_path, fsdd_root):
    (tmp_path / "data" / "synthetic").mkdir(parents=True)
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(fsdd_root.parent))
    synthetic, voices, fsdd, audiomnist, speech_commands = ask(monkeypatch, "data")
    assert voices == (OK, "data", "voices is not here yet: made when first needed")
    assert synthetic.status == WARN and "no synthetic corpus here" in synthetic.detail
    assert fsdd == (OK, "data", f"fsdd: 3,000 clips in {fsdd_root}")
    for name, missing in {"audiomnist": audiomnist, "speech_commands": speech_commands}.items():
        assert missing.status == WARN and f"spokendigits fetch {name}" in missing.detail


def test_a_question_that_breaks_does_not_stop_the_others(monkeypatch, capsys):
    def broken():
        raise ZeroDivisionError("a bug\nof ours")

    monkeypatch.setattr(doctor, "QUESTIONS", {"first": broken, "Python": doctor.QUESTIONS["Python"]})
    assert doctor.report() == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("[FAIL] first: ZeroDivisionError: a bug of ours.") and said[1].startswith("[ OK ] Python")

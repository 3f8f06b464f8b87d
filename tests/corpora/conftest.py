"""What the tests of corpora share: a server of their own, and recordings made up on the spot."""

import pytest
from serving import Server
from speaking import install_flite

from spokendigits.corpora import download, engines, voices


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Nothing is found on this machine, and nobody waits before asking a server again."""
    monkeypatch.delenv("SPOKENDIGITS_DATA", raising=False)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    monkeypatch.setattr(download, "PAUSE", 0)


@pytest.fixture
def server():
    with Server() as server:
        yield server


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """The folder of the only programs of this machine: flite, or what stands in for it. And four voices of espeak-ng."""
    folder = tmp_path / "bin"
    install_flite(folder)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(voices, "ESPEAK_VOICES", 4)
    monkeypatch.setitem(engines.ENGINES, "flite", engines.ENGINES["flite"]._replace(takes=3))
    return folder

"""What the tests share: a home of their own, real recordings, small corpora."""

import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from browsing import PROGRAM, QUIET
from xdist.scheduler import LoadScopeScheduling

# Before anything reads it: learned weights come from packages, so tests mean the same with a network and without.
os.environ["HF_HUB_OFFLINE"] = "1"

from spokendigits.corpora.corpus import Corpus
from spokendigits.recipe import Recipe

# A shell lets its background jobs ignore Ctrl-C, and their children with them: here it is sent on purpose.
signal.signal(signal.SIGINT, signal.default_int_handler)

SMALL = {
    "backbone": "test_resnet.r160_in1k",
    "weights": "none",
    "takes": None,
    "n_mels": 32,
    "epochs": 2,
    "batch_size": 8,
}


# Folders whose tests share what is slow to make: a notebook goes on with what the one before it left, the pages of one
# built book are looked at, one trained model is exported. Each is done by one process, the longest first.
TOGETHER = ("notebooks", "tests/publish", "tests/app")
SLOW = {"trained", "exported", "html", "ready", "chromium", "decks"}  # fixtures


def group(nodeid: str) -> str:
    """What a test is run together with: its folder, if that is one of TOGETHER, or else its file."""
    file = nodeid.partition("::")[0]
    return next((folder for folder in TOGETHER if file.startswith(f"{folder}/")), file)


class ByGroup(LoadScopeScheduling):
    """How the tests are dealt out to processes."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def pytest_xdist_make_scheduler(config, log):
    return ByGroup(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if SLOW & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")
    slow = {group(item.nodeid) for item in items if item.get_closest_marker("slow")}
    places = {name: place for place, name in enumerate([*TOGETHER, *sorted(slow - {*TOGETHER})])}
    items.sort(key=lambda item: places.get(group(item.nodeid), len(places)))


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    """No test reads or writes the reader's own data and runs."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("SPOKENDIGITS_HOME", str(home))
    return home


@pytest.fixture(scope="module")  # a second one in the same process, as the PDF's own, would find its loop running
def started():
    """Playwright, where there is a browser for it."""
    playwright = pytest.importorskip("playwright.sync_api")
    if PROGRAM is None:
        pytest.skip("no Chromium here: with one installed, every page and slide is opened and clicked through")
    with playwright.sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def chromium(started):
    browser = started.chromium.launch(executable_path=PROGRAM, args=QUIET)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def fsdd_root() -> Path:
    """The folder that holds `recordings/` of the Free Spoken Digit Dataset: 3,000 human recordings."""
    shared = os.environ.get("SPOKENDIGITS_DATA")
    for root in (Path(shared) / "fsdd" if shared else None, Path(__file__).parent.parent / "data" / "fsdd"):
        if root and (root / "recordings").is_dir():
            return root
    pytest.skip("the Free Spoken Digit Dataset is not here: run `spokendigits fetch fsdd`, or set SPOKENDIGITS_DATA")


@pytest.fixture
def recipe() -> Recipe:
    """The fast recipe with the smallest of timm's backbones: seconds, not minutes."""
    return Recipe.preset("fast").but(**SMALL)


@pytest.fixture
def tones(tmp_path) -> Corpus:
    """Six "speakers" whose digit k is a chord that rises with k: easy to learn, quick to make. No speech."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(6):
        speaker = f"t{number}"
        (tmp_path / "tones" / speaker).mkdir(parents=True)
        for digit in range(10):
            for take in range(3):
                seconds = np.arange(int(22_050 * random.uniform(0.3, 0.6))) / 22_050
                tone = sum(np.sin(2 * np.pi * (300 + 350 * digit + 10 * number) * k * seconds) / k for k in (1, 2))
                path = f"{speaker}/{digit}_{speaker}_{take}.wav"
                sound = 0.3 * tone + 0.01 * random.standard_normal(len(tone))
                soundfile.write(tmp_path / "tones" / path, sound, 22_050, subtype="PCM_16")
                rows.append({"path": path, "digit": digit, "speaker": speaker, "take": take})
    return Corpus("tones", tmp_path / "tones", pd.DataFrame(rows), "Test tones", "none", "made by the tests")

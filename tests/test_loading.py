"""Batches on the way to the device, and the memory that they take."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from spokendigits.clips import make_clips
from spokendigits.loading import Loader
from spokendigits.training import batches


@pytest.fixture
def loader(tones, recipe):
    return Loader(make_clips(tones, recipe, progress=False), tones, torch.device("cpu"))


def test_each_batch_holds_the_clips_and_digits_of_its_rows(loader, tones):
    wanted = [np.array([5, 2, 150]), np.array([7]), np.array([2, 2])]
    found = list(loader.each(wanted))
    assert len(found) == 3
    for rows, (audio, digit) in zip(wanted, found, strict=True):
        assert audio.dtype == torch.int16 and np.array_equal(audio.numpy(), loader.clips.audio[rows])
        assert list(digit) == list(tones.table["digit"].iloc[rows])
    assert list(loader.each([])) == []


def test_a_device_with_room_holds_all_clips(loader, monkeypatch):
    """The computer's own memory stands in for a GPU's."""
    needed = 2 * loader.clips.audio.size
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * needed, 0))
    monkeypatch.setattr("spokendigits.loading.BLOCK", 100)
    before = loader.read(np.array([3, 170]))
    loader.held = loader._hold()
    assert np.array_equal(loader.held.numpy(), loader.clips.audio)
    (after,) = loader.each([np.array([3, 170])])
    assert all(map(torch.equal, before, after))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * needed - 2, 0))
    assert loader._hold() is None, "half of the memory is the network's"


def test_an_error_while_reading_ahead_is_not_lost(loader):
    with pytest.raises(IndexError):
        list(loader.each([np.array([0]), np.array([10**6])]))


def test_batches_take_every_clip_once_in_an_order_of_their_own(recipe):
    rows = np.arange(100, 250)
    one, again, other = batches(rows, recipe, 0), batches(rows, recipe, 0), batches(rows, recipe, 1)
    assert [len(batch) for batch in one] == [8] * 18, "the last six do not fill a batch"
    assert all(map(np.array_equal, one, again)) and not np.array_equal(one[0], other[0])
    whole = batches(rows, recipe.but(drop_last=False), 0)
    assert len(whole[-1]) == 6 and np.array_equal(np.sort(np.concatenate(whole)), rows)


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's own count of a process's memory")
@pytest.mark.slow
def test_clips_that_were_read_do_not_stay_in_memory(tmp_path):
    """200 MB are read, and the process must not have grown by a quarter of that."""
    code = """
import pathlib, sys
import numpy as np
from spokendigits.clips import Clips
folder = pathlib.Path(sys.argv[1])
if not (folder / "audio.npy").exists():
    np.save(folder / "audio.npy", np.ones((5000, 22050), np.int16))
    sys.exit()
clips = Clips(np.load(folder / "audio.npy", mmap_mode="r"), np.zeros(5000), 22050, folder)
# Not getrusage: a child starts from its parent's peak there.
peak = lambda: int(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
read = (lambda rows: clips.audio[rows]) if sys.argv[2] == "mapped" else clips.read
total = sum(int(read(np.arange(first, first + 50)).sum()) for first in range(0, 5000, 50))
print(peak() - before if total == 5000 * 22050 else "wrong samples")
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(command, check=True)

    def growth(how: str) -> int:  # kilobytes
        return int(subprocess.run([*command, how], capture_output=True, check=True, encoding="utf-8").stdout)

    assert growth("read") < 50_000
    assert growth("mapped") > 150_000, "or this test would not notice"

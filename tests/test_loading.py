"""What a training is fed, step by step; batches on the way to the device, and the memory that they take."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from spokendigits import training
from spokendigits.classifier import create
from spokendigits.clips import make_clips
from spokendigits.frontend import LogMel
from spokendigits.loading import Loader
from spokendigits.recipe import Recipe
from spokendigits.splits import split
from spokendigits.training import batches, learning_rate, mix


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


@pytest.mark.parametrize("changes", [{}, {"augment": "band"}, {"mix_probability": 1.0}])
def test_each_step_is_what_split_and_recipe_say(changes, tones, recipe, tmp_path, monkeypatch):
    """Recorded where they arrive: the rows that are read, the pictures that the network sees, the rates of its steps."""
    recipe, parts, rows, pictures, rates, read = recipe.but(**changes), split(tones, "speaker"), [], [], [], Loader.read

    def watched(recipe):
        classifier = create(recipe)
        classifier.backbone.register_forward_pre_hook(
            lambda backbone, given: pictures.append(given[0].clone()) if backbone.training else None
        )
        return classifier

    monkeypatch.setattr(training, "create", watched)
    monkeypatch.setattr(Loader, "read", lambda self, batch: rows.append(batch) or read(self, batch))
    clips, hook = (
        make_clips(tones, recipe, progress=False),
        register_optimizer_step_pre_hook(lambda optimizer, *given: rates.append(optimizer.param_groups[0]["lr"])),
    )
    try:
        training.train(recipe, tones, clips, parts, tmp_path / "run", progress=False)
    finally:
        hook.remove()
    each = len(parts.train) // recipe.batch_size
    epochs = [rows[: each + 1], rows[each + 1 :]]
    for *learned, validated in epochs:
        assert set(np.concatenate(learned)) <= set(parts.train), "learned from held-out clips"
        assert len(learned) == each and len(set(np.concatenate(learned))) == each * recipe.batch_size, "none twice"
        assert np.array_equal(validated, parts.validation)
    assert not np.array_equal(epochs[0][0], epochs[1][0]), "each epoch in an order of its own"
    fed, plain = epochs[0][:-1] + epochs[1][:-1], LogMel(recipe)
    alike = [
        torch.allclose(picture, plain(torch.from_numpy(clips.read(batch))), atol=0.1)
        for picture, batch in zip(pictures, fed, strict=True)
    ]
    assert not any(alike) if changes else all(alike), "augmented and mixed as the recipe says, and no more"
    assert rates == [learning_rate(step, 2 * each, recipe) for step in range(2 * each)]
    kept = (tmp_path / "run" / "steps.csv").read_text().splitlines()[1:]
    assert [float(line.split(",")[2]) for line in kept] == pytest.approx(rates)


def test_the_cosine_starts_at_the_top_and_ends_at_zero():
    recipe = Recipe()
    rates = [learning_rate(step, 100, recipe) for step in range(101)]
    assert rates[0] == 0.001 and rates[100] == pytest.approx(0) and all(a > b for a, b in itertools.pairwise(rates))
    assert rates == pytest.approx([0.0005 * (1 + math.cos(math.pi * step / 100)) for step in range(101)])
    warm = [learning_rate(step, 100, recipe.but(warmup_epochs=1.0)) for step in range(100)]
    assert warm[0] == pytest.approx(0.001 / 20) and warm[19] == warm[20] == 0.001 and warm[-1] < 1e-5


def test_mixed_clips_and_their_targets_keep_their_scale():
    audio, target = torch.randint(-32_768, 32_767, (4, 50), dtype=torch.int16), torch.eye(10)[[1, 2, 3, 4]]
    mixed, mixed_target = mix(audio, target, Recipe().but(mix_probability=1.0), np.random.default_rng(0))
    # Each clip has a digit of its own, so its target says how much of which clip is in it.
    assert torch.allclose(mixed, mixed_target[:, 1:5] @ (audio.float() / 32_768), atol=1e-6)
    assert torch.allclose(mixed_target.sum(dim=1), torch.ones(4)) and ((mixed_target > 0).sum(dim=1) <= 2).all()
    assert ((mixed_target > 0).sum(dim=1) == 2).any()


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

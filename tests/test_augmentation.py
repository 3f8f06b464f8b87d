"""Augmentation: each part does what it says to real recordings, and nothing else."""

import functools
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import nbformat
import numpy as np
import pytest
import torch

from spokendigits.augmentation import COLOUR, GATE, MASK_BINS, MASK_SECONDS, MASKS, STRETCH, TILT, WARP, Augment
from spokendigits.checks import expect
from spokendigits.classifier import Classifier
from spokendigits.errors import CourseError
from spokendigits.frontend import LogMel
from spokendigits.recipe import AUGMENTATIONS, Recipe

NOTEBOOK = "notebooks/06_real_voices.ipynb"
RECIPE = Recipe(
    sample_rate=16_000,
    window=512,
    hop=256,
    n_mels=48,
    f_max=3800.0,
    mel_scale="htk",
    normalization="clip",
    backbone="resnet10t",
    weights="none",
)


def only(part: str) -> Augment:
    return Augment(RECIPE.but(augment=part))


def word(count: int = 64, hertz: float = 1500.0) -> torch.Tensor:
    """The same clip over and over: a tone from 0.1 to 0.5 s."""
    time = torch.arange(RECIPE.samples) / RECIPE.sample_rate
    tone = 0.3 * torch.sin(2 * torch.pi * hertz * time) * ((time > 0.1) & (time < 0.5))
    return tone.expand(count, -1)


FRONTEND = LogMel(RECIPE)


def power(clips: torch.Tensor) -> torch.Tensor:
    """Power spectra [batch, frames, frequencies]."""
    return FRONTEND.spectrogram(clips).mT


def mel_power(clips: torch.Tensor) -> torch.Tensor:
    """Mel power [batch, frames, n_mels]."""
    return FRONTEND.mel_scale(FRONTEND.spectrogram(clips)).mT


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("part", AUGMENTATIONS)
def test_each_part_changes_every_clip_in_its_own_way(part):
    audio = word(8)
    plain, found = FRONTEND(audio), FRONTEND(audio, only(part))
    assert found.shape == plain.shape and found.isfinite().all()
    changed = [not torch.equal(one, other) for one, other in zip(found, plain, strict=True)]
    assert sum(changed) >= (8 if part in ("voice", "band", "mask") else 1), "the others leave some clips alone"
    # Cuts lie between frames, so that two clips may be cut alike.
    assert len({one.numpy().tobytes() for one in found}) >= (2 if part == "cut" else sum(changed))


def test_notebook_6_shows_a_draw_that_changed_something_and_ends_where_none_does(capsys):
    """Most parts draw lots first. Silence stays silence."""
    cells = [cell.source for cell in nbformat.read(Path(__file__).parents[1] / NOTEBOOK, 4).cells]
    (shown,) = [number for number, source in enumerate(cells) if "for part in AUGMENTATIONS" in source]
    names = dict.fromkeys(("SYNTHETIC", "lane_recipe"), Recipe.preset("voices"))
    names |= {"AUGMENTATIONS": AUGMENTATIONS, "Augment": Augment, "LogMel": LogMel, "torch": torch, "expect": expect}
    names |= {"functools": functools, "six": SimpleNamespace(index=[0]), "plots": Mock()}
    for corpus, audio, seeds in (("fsdd", word(1), range(4)), ("folder", 0 * word(1), [5])):
        names |= {"recordings": SimpleNamespace(name=corpus), "clips": SimpleNamespace(audio=audio.numpy())}
        for seed in seeds:
            exec(cells[shown].replace("manual_seed(5)", f"manual_seed({seed})"), names)
            exec(cells[shown + 1], names)
            plain, *others = names["pictures"]
            assert corpus == "folder" or all((one - plain).abs().max() > 0.1 for one in others)
    assert capsys.readouterr().out.count("each part should change something") == 1


def test_the_same_seed_draws_the_same_and_the_next_batch_differs():
    frontend, audio, augment = FRONTEND, word(8), only("all")
    torch.manual_seed(3)
    first, second = frontend(audio, augment), frontend(audio, augment)
    torch.manual_seed(3)
    assert torch.equal(frontend(audio, augment), first)
    assert not torch.equal(first, second)


def test_a_classifier_augments_while_it_trains_and_never_else():
    classifier, audio = Classifier(RECIPE.but(augment="all")), word(4)
    seen = []
    classifier.backbone.register_forward_pre_hook(lambda module, given: seen.append(given[0].clone()))
    with torch.no_grad():
        for mode in (True, False, False):
            classifier.train(mode)(audio)
    plain = FRONTEND(audio)
    assert not torch.allclose(seen[0], plain)
    assert torch.equal(seen[1], plain) and torch.equal(seen[2], plain)


def test_another_voice_has_other_formants_tempo_and_onset():
    clips = word(400)
    before = power(clips[:1])[0]
    after = only("voice").spectrum(power(clips))
    loudest = after.sum(1).argmax(1) / before.sum(0).argmax()
    near = 1 + 125 / 1500  # formants move apart
    assert loudest.min() >= np.exp(-WARP) / near - 0.03 and loudest.max() <= np.exp(WARP) * near + 0.03
    assert loudest.min() < 0.85 and loudest.max() > 1.15
    level = after.sum(2)
    loud = level > level.amax(1, keepdim=True) * 0.1
    first = loud.float().argmax(1) * RECIPE.hop / RECIPE.sample_rate
    assert first.min() < 0.12 and 0.45 < first.max() < 0.75, "seconds; the word itself began at 0.1"
    lasts = loud.sum(1) * RECIPE.hop / RECIPE.sample_rate
    whole = lasts[first + lasts < 0.95]
    assert 0.4 * np.exp(-STRETCH) - 0.08 < whole.min() < 0.34 and 0.46 < whole.max() < 0.4 * np.exp(STRETCH) + 0.08


def test_a_word_cut_off_loses_its_quiet_ends_only():
    fading = word(200) * torch.linspace(-1, 1, RECIPE.samples).mul(4).square().neg().exp()  # loudest at 0.5 s
    before = mel_power(fading)
    after = only("cut").mel(before)
    level, kept = before.mean(2), (after == before).all(2)
    assert (after[~kept] == 0).all()
    quiet = 10 * torch.log10(level / level.amax(1, keepdim=True))
    assert kept[quiet > GATE[1]].all(), "nothing loud is lost"
    faint = (quiet < GATE[0]) & (level > 0) & ~kept.all(1)[:, None]
    assert faint.any() and not kept[faint].any(), "and no cut spares what is quieter than all gates"
    assert 0.3 < kept.all(1).float().mean() < 0.6, "some clips stay whole"
    gone = [(~one).nonzero().flatten().tolist() for one in kept]
    assert len({tuple(one) for one in gone}) > 5, "each clip has a gate of its own"
    for one in kept[:, level[0] > 0]:
        ends = one.nonzero().flatten()
        assert one[ends[0] : ends[-1] + 1].all(), "only the ends"


def test_an_echo_comes_after_the_sound_and_fades():
    clips = word(200)
    before = mel_power(clips)
    added = only("room").mel(before) - before
    assert (added >= 0).all()
    start = int(0.1 * RECIPE.sample_rate / RECIPE.hop) - 2
    assert added[:, :start].abs().max() < 1e-6 * before.max(), "nothing before the word"
    wet = added.sum((1, 2)) > 0
    assert 0.2 < wet.float().mean() < 0.4
    end = int(0.5 * RECIPE.sample_rate / RECIPE.hop) + 3
    tail = added[wet, end:].sum(2)
    assert (tail.diff(dim=1) <= 1e-9 + 1e-3 * tail[:, :-1]).all()


def test_a_microphones_colour_is_smooth_and_stays_the_same_through_the_clip():
    before = mel_power(torch.randn(50, RECIPE.samples) / 10)
    gain = 10 * torch.log10(only("band").mel(before) / before)
    assert gain.std(dim=1).max() < 1e-3, "the same in every frame"
    gain = gain[:, 0]
    assert gain.abs().max() <= TILT + COLOUR and gain.abs().amax(1).min() > 0.3
    assert gain.diff(dim=1).abs().max() < 2.5, "dB from one mel bin to the next"


def test_noise_has_the_levels_that_were_drawn():
    clips = word(1000)
    before = mel_power(clips)
    added = only("noise").mel(before) - before
    noisy = added.sum((1, 2)) > 0
    assert 0.75 < noisy.float().mean() < 0.85
    loudest = before.mean(2).amax(1)
    middle = added[noisy, 12:28].mean((1, 2))  # inside the word, where all of them have their noise
    snr = 10 * torch.log10(loudest[noisy] / middle)
    assert 1.5 < snr.min() < 5 and 38 < snr.max() < 42
    quiet = (added[noisy, -3:] == 0).all(2).all(1)
    assert 0.2 < quiet.float().mean() < 0.6, "some recordings end soon after the word"


def test_masks_are_few_narrow_and_at_the_clips_mean():
    picture = torch.randn(100, 1, RECIPE.n_mels, 63)
    hidden = only("mask").picture(picture.clone()) != picture
    rows, columns = hidden.all(3).squeeze(1).sum(1), hidden.all(2).squeeze(1).sum(1)
    assert rows.max() <= MASKS * RECIPE.n_mels * MASK_BINS
    assert columns.max() <= MASKS * np.ceil(MASK_SECONDS * RECIPE.sample_rate / RECIPE.hop)
    assert 0.02 < hidden.float().mean() < 0.35
    assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) > 30, "each clip has masks of its own"


def test_an_unknown_part_is_named():
    with pytest.raises(CourseError, match=r"'nois'\. Did you mean 'noise'\?"):
        Recipe(augment="voice+nois")

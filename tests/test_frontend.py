"""LogMel against librosa, on speech-like noise and on real recordings."""

import warnings

import librosa
import numpy as np
import pytest
import torch

from spokendigits.augmentation import Augment
from spokendigits.clips import fit, read_audio
from spokendigits.frontend import LogMel
from spokendigits.recipe import Recipe

TOLERANCE = 0.01  # decibels

SEED = Recipe.preset("seed")
SETTINGS = {
    "seed": SEED,
    "seed with HTK mels": SEED.but(mel_scale="htk"),
    "corrected": SEED.but(f_max=SEED.nyquist),
    "fast": Recipe.preset("fast"),
}


def by_librosa(audio: np.ndarray, recipe: Recipe) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # empty mel filters
        mel = librosa.feature.melspectrogram(
            y=audio,
            sr=recipe.sample_rate,
            n_fft=recipe.window,
            hop_length=recipe.hop,
            n_mels=recipe.n_mels,
            fmin=recipe.f_min,
            fmax=recipe.f_max,
            htk=recipe.mel_scale == "htk",
            norm="slaney" if recipe.mel_scale == "slaney" else None,
            pad_mode="constant",
        )
    return librosa.power_to_db(mel, top_db=80.0)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.slow
def test_equal_to_librosa_on_noise_that_fades(name):
    recipe = SETTINGS[name]
    random = np.random.default_rng(0)
    audio = (random.standard_normal(recipe.samples) * np.geomspace(0.5, 1e-4, recipe.samples)).astype(np.float32)
    picture = LogMel(recipe)(torch.from_numpy(audio)[None])
    assert picture.shape == (1, 1, recipe.n_mels, recipe.frames) and picture.dtype == torch.float32
    assert np.abs(picture[0, 0].numpy() - by_librosa(audio, recipe)).max() < TOLERANCE


@pytest.mark.parametrize("name", SETTINGS)
def test_equal_to_librosa_on_real_recordings(name, fsdd_root):
    recipe = SETTINGS[name]
    paths = sorted((fsdd_root / "recordings").glob("*_1.wav"))
    audio = np.stack([fit(read_audio(path, recipe.sample_rate), recipe.samples) for path in paths])
    assert len(audio) == 60
    pictures = LogMel(recipe)(torch.from_numpy(audio))[:, 0].numpy()
    expected = np.stack([by_librosa(one, recipe) for one in audio])
    assert np.abs(pictures - expected).max() < TOLERANCE


@pytest.mark.parametrize(("name", "empty"), [("seed", 11), ("seed with HTK mels", 13), ("corrected", 0), ("fast", 0)])
def test_filters_above_the_nyquist_frequency_are_empty(name, empty):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bank = LogMel(SETTINGS[name]).filters
    assert int((bank.amax(dim=0) == 0).sum()) == empty


def test_all_ways_to_a_picture_lead_to_the_same(monkeypatch):
    """In parts, as a processor takes a batch, or whole, as a GPU does; and by way of an augmentation that changes nothing."""
    time = torch.arange(SEED.samples) / SEED.sample_rate
    rising = torch.sin(2 * torch.pi * (300 + 1500 * torch.arange(1, 6)[:, None] * time) * time) * (1 - time)
    frontend, nothing = LogMel(SEED), Augment(SEED.but(augment="mask"))
    nothing.parts = set()
    expected = torch.from_numpy(np.stack([by_librosa(one.numpy(), SEED) for one in rising]))
    for at_once in (1, 2, 99):
        monkeypatch.setattr("spokendigits.frontend.AT_ONCE", at_once)
        for augment in (None, nothing):
            assert (frontend(rising, augment)[:, 0] - expected).abs().max() < TOLERANCE


def test_int16_clips_and_floats_give_the_same_picture():
    random = np.random.default_rng(0)
    samples = random.integers(-20_000, 20_000, (2, SEED.samples), dtype=np.int16)
    frontend = LogMel(SEED)
    from_int = frontend(torch.from_numpy(samples))
    assert torch.equal(from_int, frontend(torch.from_numpy(samples / np.float32(32768))))


def test_each_clip_is_judged_by_itself():
    random = np.random.default_rng(0)
    loud = torch.from_numpy(random.standard_normal((1, SEED.samples)).astype(np.float32))
    quiet = loud.flip(1) * 1e-3
    frontend = LogMel(SEED)
    together = frontend(torch.cat([loud, quiet]))
    assert torch.allclose(together[1:], frontend(quiet), atol=1e-4), "a loud neighbour must not raise the floor"


def test_silence_is_finite_and_half_precision_outside_changes_nothing():
    frontend = LogMel(SEED.but(normalization="clip"))
    assert torch.isfinite(frontend(torch.zeros(1, SEED.samples))).all()
    audio = torch.randn(1, SEED.samples, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        inside = frontend(audio)
    assert inside.dtype == torch.float32 and torch.equal(inside, frontend(audio))
    assert abs(float(inside.mean())) < 1e-3 and abs(float(inside.std()) - 1) < 1e-2

"""The spotter: what is decoded from its symbols, that CTC teaches it, and that its exported file says the same."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from spokendigits import lanes
from spokendigits.clips import read_audio
from spokendigits.pretrained import SPEECH
from spokendigits.topics import decoding
from spokendigits.topics.decoding import BLANK, OTHER, SYMBOLS
from spokendigits.topics.onnx_reader import OnnxSpotter, load_onnx
from spokendigits.topics.onnx_writer import write_spotter
from spokendigits.topics.spotting import Spotter, ctc
from tests.refusing import refused

RATE = 16_000


def steps(*symbols: int, sure: float = 0.9) -> np.ndarray:
    """Logarithms of chances, one symbol likely at each step."""
    chances = np.full((len(symbols), SYMBOLS), (1 - sure) / (SYMBOLS - 1))
    chances[np.arange(len(symbols)), symbols] = sure
    return np.log(chances).astype(np.float32)


def test_the_chance_of_one_word_is_the_sum_of_ctc():
    logarithms = F.log_softmax(torch.randn(17, SYMBOLS, generator=torch.Generator().manual_seed(0)), dim=1)
    lines = [[symbol] for symbol in range(BLANK)] + [[]]
    sums = -ctc(logarithms.expand(len(lines), -1, -1), lines)
    expected = sums.softmax(dim=0).numpy()
    np.testing.assert_allclose(decoding.one_word(logarithms.numpy()), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("symbols", "read"),
    [
        ([BLANK] * 6, []),
        ([BLANK, 7, 7, BLANK, BLANK], [7]),
        ([3, 3, BLANK, 3, BLANK], [3, 3]),  # said twice: a blank is between
        ([1, 1, 4, 4], [1, 4]),  # said without a pause
        ([BLANK, OTHER, BLANK, 9], [OTHER, 9]),
    ],
)
def test_words_are_read_from_the_likeliest_symbols(symbols, read):
    found = decoding.words(steps(*symbols))
    assert [int(word.chances.argmax()) for word in found] == read
    assert all(word.chances.sum() == pytest.approx(1) for word in found)
    for word, after in pairwise(found):
        assert word.end == pytest.approx(after.start)


def test_times_lie_around_the_steps():
    one, two = decoding.words(steps(*[BLANK] * 10, 5, *[BLANK] * 9, 2, *[BLANK] * 5))
    assert one.start < decoding.FIRST + 10 * decoding.STEP < one.end
    assert two.start < decoding.FIRST + 20 * decoding.STEP < two.end
    assert one.end == pytest.approx(decoding.FIRST + 15 * decoding.STEP, abs=decoding.STEP)


def test_a_digit_is_scored_by_the_chance_that_any_was_said():
    chances = np.zeros(SYMBOLS)
    chances[[3, 4, OTHER]] = 0.25, 0.25, 0.5
    assert np.exp(decoding.digit_score(chances)) == pytest.approx(0.5)
    assert np.isfinite(decoding.digit_score(np.eye(SYMBOLS)[BLANK]))


@pytest.fixture(scope="module")
def spotter():
    return Spotter().eval()


def test_steps_hear_where_decoding_says(spotter):
    """A click moves the embedding of the steps around it, and of no others."""
    quiet = 0.01 * torch.randn(1, 4 * RATE, generator=torch.Generator().manual_seed(1))
    loud = quiet.clone()
    loud[0, 2 * RATE : 2 * RATE + 160] += 0.03
    # The loudest point is taken out of a picture: it must be the same in both.
    for audio in (quiet, loud):
        audio[0, :160] += 0.5
    with torch.inference_mode():
        moved = (spotter.embed(loud) - spotter.embed(quiet)).abs().amax(dim=1)[0]
    heard = decoding.FIRST + decoding.STEP * np.flatnonzero(moved.numpy() > 1e-3 * moved.max().item())
    assert np.abs(heard - 2.0).max() < 0.76 / 2 + decoding.STEP
    assert abs(np.median(heard) - 2.0) < decoding.STEP


def test_the_embedding_starts_as_it_was_learned_from_speech(spotter):
    from spokendigits.classifier import create
    from spokendigits.recipe import Recipe

    learned = create(Recipe.preset("speech")).backbone
    assert spotter.recipe.backbone == SPEECH
    for one, other in zip(spotter.embedding.layers.parameters(), learned.layers.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.slow
def test_ctc_teaches_it_strings_that_nobody_timed(fsdd_root):
    """A head on the frozen embedding, a minute of one person's digits: it reads other takes of them, joined anew."""
    clips = {
        digit: [read_audio(fsdd_root / f"recordings/{digit}_theo_{take}.wav", RATE) for take in range(9)]
        for digit in range(10)
    }
    random = np.random.default_rng(0)

    def line(takes: range, length: int = 4) -> tuple[np.ndarray, list[int]]:
        said = random.integers(10, size=length).tolist()
        parts = [clips[digit][random.choice(takes)] for digit in said]
        audio = np.concatenate([np.zeros(1600, np.float32), *(part / np.abs(part).max() for part in parts)])
        return np.pad(audio, (0, 4 * RATE - len(audio)))[: 4 * RATE].astype(np.float32), said

    torch.manual_seed(0)
    spotter = Spotter()
    heard = [line(range(6)) for _ in range(120)]
    with torch.inference_mode():
        embedded = torch.cat(
            [
                spotter.embed(torch.from_numpy(np.stack([audio for audio, _ in heard[i : i + 8]])))
                for i in range(0, 120, 8)
            ]
        )
    embedded = embedded.clone()
    optimizer = torch.optim.AdamW(spotter.head.parameters(), lr=0.01)
    for _ in range(120):
        rows = random.choice(len(heard), 32, replace=False)
        loss = ctc(F.log_softmax(spotter.head(embedded[rows]).mT, dim=2), [heard[row][1] for row in rows]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    spotter.eval()
    right = 0
    for _ in range(20):
        audio, said = line(range(6, 9))
        with torch.inference_mode():
            found = decoding.words(spotter(torch.from_numpy(audio[None]))[0].numpy())
        right += [int(word.chances.argmax()) for word in found] == said
    assert right >= 12, f"{right} of 20 strings, after a loss of {loss.item():.2f}"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(1)
    spotter = Spotter().eval()
    path = write_spotter(spotter, tmp_path_factory.mktemp("spotter") / "spotter.onnx", -1.0, "abc", "two voices")
    return spotter, path


@pytest.mark.parametrize("samples", [800, 16_000, 48_123])
def test_the_exported_file_says_the_same_of_any_length(exported, samples, fsdd_root):
    spotter, path = exported
    model = load_onnx(path)
    assert isinstance(model, OnnxSpotter) and (model.threshold, model.sha256) == (-1.0, "abc")
    audio = np.resize(read_audio(fsdd_root / "recordings/7_theo_0.wav", RATE), (2, samples))
    with torch.inference_mode():
        wave = torch.from_numpy(audio)
        expected = spotter(wave), spotter.embed(wave).mT, spotter.frontend(wave)
    for found, torchs in zip(model(audio), expected, strict=True):
        assert found.shape == tuple(torchs.shape)
        np.testing.assert_allclose(found, torchs.numpy(), atol=5e-3)
    whole = (32_767 * audio).astype(np.int16)
    np.testing.assert_array_equal(model(whole)[0], model(whole.astype(np.float32) / 32_768)[0])


def test_what_is_no_waveform_is_refused(exported):
    model = load_onnx(exported[1])
    for wrong in (np.zeros(RATE), np.zeros((0, RATE)), np.zeros((1, 0))):
        refused(r"this model reads \[batch, samples\]", model, wrong)
    refused("no number", model, np.full((1, RATE), np.nan))


def test_the_stored_model_says_what_taught_it_and_is_small():
    path = lanes.shipped("_static/say/spotter.onnx")
    model = load_onnx(path)
    assert path.stat().st_size <= 3_000_000 and np.exp(model.threshold) < 0.5
    for name in ("synthetic voices", "FSDD", "Speech Commands"):
        assert name in model.weights, model.weights

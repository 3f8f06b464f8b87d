"""Players and cards: what is heard and seen is the clip that the label names, and nothing in them needs a server or a script."""

import base64
import io
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from bs4 import BeautifulSoup
from matplotlib import colormaps, image

from spokendigits import listen
from spokendigits.classifier import Classifier
from spokendigits.clips import make_clips
from spokendigits.corpora.corpus import PROBABILITIES
from spokendigits.evaluation import confusions, mistakes, predict
from spokendigits.topics.cards import confusion_clips, error_cards


@pytest.fixture
def world(tones, recipe):
    """An untrained classifier, its clips and corpus, and predictions of which a quarter, drawn at random, are wrong."""
    clips, random = make_clips(tones, recipe, progress=False), np.random.default_rng(0)
    classifier, rows = Classifier(recipe).eval(), np.arange(len(tones))[::3]
    table = predict(classifier, clips, tones, rows, progress=False)
    read = np.where(random.random(len(rows)) < 0.75, table["digit"], random.integers(0, 10, len(rows)))
    chances = random.dirichlet(np.ones(10), len(rows)) + np.eye(10)[read]
    table[PROBABILITIES] = chances / 2
    loss = -np.log(chances[np.arange(len(rows)), table["digit"]])
    return SimpleNamespace(
        classifier=classifier, clips=clips, corpus=tones, table=table.assign(predicted=read, loss=loss)
    )


def plain(page: str) -> BeautifulSoup:
    """The page, with nothing that JupyterLab takes out of a notebook that it did not run itself, or that is elsewhere."""
    soup = BeautifulSoup(page, "html.parser")
    known = "div figure figcaption img audio strong span p table caption tr th td details summary"
    assert {tag.name for tag in soup.find_all(True)} <= set(known.split())
    assert not soup.select("[id], [onclick], [href]") and soup.div["class"] == ["players"]
    kinds = ("data:image/png;base64,", "data:audio/flac;base64,")
    assert all(tag["src"].startswith(kinds) for tag in soup.select("[src]"))
    assert all(len(picture["alt"]) > 40 for picture in soup.find_all("img"))
    return soup


def content(tag) -> io.BytesIO:
    return io.BytesIO(base64.b64decode(tag["src"].split(",")[1]))


def plays(tag, whole: np.ndarray) -> bool:
    """Whether a player holds a clip int16 [n]: all of it but padding."""
    samples, rate = soundfile.read(content(tag), dtype="int16")
    return rate == 22_050 and np.array_equal(samples, whole[: len(samples)]) and not whole[len(samples) :].any()


def test_players_hold_their_sounds_and_silence_can_be_played():
    sounds = np.random.default_rng(0).integers(-9000, 9000, (2, 500)).astype(np.int16)
    sounds[0, 300:] = sounds[1, 100:] = 0
    soup = plain(listen.players([(sound / 32_768, f"<{i}>") for i, sound in enumerate(sounds)], 22_050).data)
    assert [caption.get_text() for caption in soup.find_all("figcaption")] == ["<0>", "<1>"]
    assert all(plays(tag, sound) for tag, sound in zip(soup.find_all("audio"), sounds, strict=True))
    (tag,) = plain(listen.player(np.zeros(90), 22_050, 'a "quiet" one').data).find_all("audio")
    assert plays(tag, np.zeros(90, np.int16)) and tag["aria-label"] == tag["title"] == 'a "quiet" one'


def test_a_card_shows_and_plays_its_own_clip_and_its_neighbours(world):
    worst, random = mistakes(world.table).head(5), np.random.default_rng(0)
    rows, far = random.integers(0, len(world.corpus), (len(worst), 3)), random.random((len(worst), 3))
    page = error_cards(world.classifier, world.clips, world.corpus, worst, rows, far).data
    assert len(page) < 1.5e6
    cards = plain(page).div.find_all("div", recursive=False)
    for card, (_, row), near, distances in zip(cards, worst.iterrows(), rows, far, strict=True):
        sounds, images = card.find_all("audio"), card.find_all("img")
        for sound, picture, clip in zip(sounds, images, [row["clip"], *near], strict=True):
            assert plays(sound, world.clips.audio[clip])
            speaker = world.corpus.table["speaker"][clip]
            assert f"speaker {speaker}" in sound["aria-label"] and f"speaker {speaker}" in picture["alt"]
            with torch.no_grad():
                mel = world.classifier.frontend(torch.from_numpy(world.clips.read(np.array([clip]))))[0, 0].numpy()[
                    ::-1
                ]
            seen, expected = image.imread(content(picture)), colormaps["magma"]((mel - mel.min()) / np.ptp(mel))
            assert seen.shape[:2] == mel.shape and np.abs(seen - expected)[..., :3].max() < 0.03, (
                "as the network sees it"
            )
        captions = [caption.get_text() for caption in card.find_all("figcaption")]
        answer = card.details.extract() if card.details else None
        assert answer and not answer.has_attr("open"), "listen first"
        assert f"said {row['digit']}, read as {row['predicted']}" in answer.get_text()
        assert "said" not in str(card) and card.audio and "read as" not in str(card), "and nothing outside tells"
        for caption, clip, distance in zip(captions[1:], near, distances, strict=True):
            assert caption.startswith(f"{world.corpus.table['digit'][clip]}, ") and f"{distance:.2f}" in caption
        text = answer.get_text(" ", strip=True).replace("\n", " ")
        for digit, mark in ((row["digit"], "said"), (row["predicted"], "read")):
            assert f"{digit} {mark} {row[f'p{digit}']:.2f}" in text


def test_synthetic_speech_says_so_names_are_escaped_and_without_mistakes_it_says_that(world):
    other = replace(world.corpus, table=world.corpus.table.assign(speaker='<b>"x'), synthetic=True)
    near = np.arange(4).reshape(2, 2)
    sounds = plain(error_cards(world.classifier, world.clips, other, world.table.head(2), near).data)("audio")
    assert len(sounds) == 6 and all(sound["aria-label"].endswith('speaker <b>"x, synthetic') for sound in sounds)
    none = np.empty((0, 3), int)
    assert "No mistakes" in error_cards(world.classifier, world.clips, other, world.table.head(0), none).data


def test_the_matrix_opens_into_the_clips_of_its_cells(world):
    # More than `most` in one cell, and a digit of which no clip is there.
    table = world.table[world.table["digit"] != 5].copy()
    table.loc[table.index[table["digit"] == 2][:5], "predicted"] = 7
    counts = confusions(table)
    soup = plain(confusion_clips(world.classifier, world.clips, world.corpus, table, most=2).data)
    rows = [row for row in soup.find_all("tr") if row.find("th", scope="row")]
    assert [[int(cell.get_text()) for cell in row.find_all("td")] for row in rows] == counts.to_numpy().tolist()
    kinds = [(said, read) for said in range(10) for read in range(10) if said != read and counts.loc[said, read]]
    for opened, (said, read) in zip(soup.find_all("details"), kinds, strict=True):
        assert opened.summary.get_text().startswith(f"{said} read as {read}: {counts.loc[said, read]} clip")
        assert (", the worst 2 here" in opened.summary.get_text()) == (counts.loc[said, read] > 2)
        assert not opened.has_attr("open")
        clips = mistakes(table).query("digit == @said and predicted == @read")["clip"][:2]
        assert all(plays(tag, world.clips.audio[clip]) for tag, clip in zip(opened("audio"), clips, strict=True))
    right = table.assign(predicted=table["digit"])
    page = confusion_clips(world.classifier, world.clips, world.corpus, right).data
    assert "<details" not in page


@pytest.mark.slow
def test_figures_and_players_do_without_pytorch():
    code = "import sys; from spokendigits import listen, plots; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

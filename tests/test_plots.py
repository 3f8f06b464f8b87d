"""Figures draw the numbers that they are given, and their alt texts say them."""

import re
import runpy

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy.signal import lfilter

from spokendigits import plots
from spokendigits.frontend import LogMel
from spokendigits.recipe import Recipe
from spokendigits.topics import sound

SCORES = pd.DataFrame(
    {"accuracy": [0.987, 0.871], "low": [0.979, 0.8], "high": [0.993, 0.92]}, ["random", "one speaker held out"]
)
RECALLS = pd.DataFrame(
    {"clips": [100, 300], "speakers": [2, 6], "right": [95, 285], "recall": 0.95, "low": [0.5, 0.9], "high": 0.99,
     "warning": ["2 speakers: says little about others", ""]}, ["American", "British"])  # fmt: skip


def shown(fig) -> tuple[str, str]:
    return plots.described(fig._repr_mimebundle_()["text/plain"])


def test_a_readers_own_matplotlibrc_changes_no_figure():
    with plt.rc_context({"text.usetex": True, "lines.linewidth": 9.0}):
        runpy.run_path(plots.__file__)  # as it is read at first
        assert not plt.rcParams["text.usetex"] and plt.rcParams["lines.linewidth"] == 1.5


def test_intervals_stand_in_rows_from_the_top_with_their_numbers():
    fig = plots.comparison(SCORES, "Look at both.")
    assert "one speaker held out 87.1% (95 % interval 80.0% to 92.0%)" in shown(fig)[0]
    (ax,) = fig.axes
    lines, dots = ax.collections
    assert np.array(lines.get_segments()) == pytest.approx(np.array([[[97.9, 0], [99.3, 0]], [[80, 1], [92, 1]]]))
    assert np.array(dots.get_offsets()) == pytest.approx(np.array([[98.7, 0], [87.1, 1]]))
    assert [label.get_text() for label in ax.get_yticklabels()] == list(SCORES.index) and ax.yaxis_inverted()
    assert shown(fig)[1] == "Look at both."


@pytest.mark.parametrize("preset", ["fast", "seed", "speech"])
def test_a_mel_picture_has_seconds_and_the_hertz_of_its_own_filters(preset):
    recipe = Recipe.preset(preset)
    fig = plots.mel_pictures(np.zeros((5, recipe.n_mels, recipe.frames)), list("abcde"), recipe, caption="")
    first, second, *_, fifth, _, _, _ = fig.axes
    filters = LogMel(recipe).filters.numpy()
    for mark, label in zip(first.get_yticks(), first.get_yticklabels(), strict=True):
        hertz, row = float(label.get_text().replace(",", "") or 0), round(mark)
        if 0 < hertz < min(recipe.f_max, recipe.nyquist):
            peak = filters[:, row].argmax() * recipe.sample_rate / recipe.window
            assert peak == pytest.approx(hertz, rel=0.06)
    assert [label.get_text() for label in first.get_xticklabels()] == ["0", "", f"{recipe.seconds:g} s"]
    assert first.get_xticks()[2] == pytest.approx(recipe.seconds * recipe.sample_rate / recipe.hop)
    at_left = [ax.yaxis.get_tick_params()["labelleft"] for ax in (first, second, fifth)]
    assert at_left == [True, False, True], "once in a row"


def test_the_formants_of_a_sound_are_marked_where_its_resonances_are():
    buzz = np.zeros(4096)
    buzz[::220] = 1  # a pitch of 100 hertz
    for hertz in (500, 1500, 2500):
        pole = 0.99 * np.exp(2j * np.pi * hertz / 22_050)
        buzz = lfilter([1], [1, -2 * pole.real, abs(pole) ** 2], buzz)
    alt, _ = shown(sound.spectra({"a tube": buzz}, 22_050, ""))
    assert np.array(re.findall(r"(\d+) and (\d+) hertz", alt)[0], float) == pytest.approx([500, 1500], rel=0.05)


def test_the_figure_of_splits_says_the_gap():
    fig = plots.split_gap(SCORES)
    assert "one speaker held out 87.1%, -11.6 points (95 % interval 80.0% to 92.0%)" in shown(fig)[0]
    assert [note.get_text() for note in fig.axes[0].texts] == ["98.7%", "87.1%, -11.6 points"]
    assert fig.axes[0].get_lines()[0].get_xdata() == pytest.approx([98.7, 98.7]), "a line at the first"


def test_the_figure_of_recalls_names_the_worst_and_shows_twenty():
    alt, _ = shown(plots.recall(RECALLS, "accent"))
    assert "accent American is worst with 95.0% of 100 clips." in alt
    many = plots.recall(pd.concat([RECALLS] * 15, ignore_index=True), "speaker")
    assert [label.get_text() for label in many.axes[0].get_yticklabels()][:2] == ["0  (100 clips)", "1  (300 clips)"]
    assert len(many.axes[0].get_yticks()) == 20


def test_the_figure_of_groups_says_which_are_too_small():
    fig = plots.groups(RECALLS, "accent")
    alt, _ = shown(fig)
    assert "95.0% over all: American 95.0% (50.0% to 99.0%)" in alt
    assert alt.endswith("Hollow, as too small to say much: American.")
    labels = ["American  (2 speakers, 100 clips)", "British  (6 speakers, 300 clips)"]
    assert [text.get_text() for text in fig.axes[0].get_yticklabels()] == labels
    dots = fig.axes[0].collections[-1]
    assert [to_hex(colour) for colour in dots.get_facecolor()] == ["#ffffff", plots.BLUE.lower()]
    assert dots.get_sizes()[0] < dots.get_sizes()[1]


def test_the_figure_of_learning_has_room_for_nothing_to_learn_from():
    curve = pd.DataFrame({"number": [5, 0, 1], "accuracy": [0.97, 0.9, 0.95], "low": 0.8, "high": 1.0})
    fig = plots.learning_curve({"pretrained": curve, "from scratch": curve[curve["number"] > 0]}, "speakers", "")
    assert "pretrained: 90.0% with 0, 95.0% with 1, 97.0% with 5; from scratch: 95.0% with 1" in shown(fig)[0]
    (ax,) = fig.axes
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "1", "5"]
    places = ax.transData.transform([(number, 90) for number in (0, 1, 5)])[:, 0]
    assert np.isfinite(places).all() and (np.diff(places) > 20).all()
    looks = {(line.get_color(), line.get_marker()) for line in ax.get_lines()}
    assert len({colour for colour, _ in looks}) == len({marker for _, marker in looks}) == 2, "not by colour alone"

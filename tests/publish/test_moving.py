"""The figures that move, in a real browser: the interval's samples, the price of a mistake, and what holds for all of them."""

import functools
import re

import numpy as np
import pytest
from browsing import NARROW, REDRAW, WIDE, barriers, drag, press, served, sideways, status

from spokendigits import lanes
from spokendigits.intervals import speaker_interval, wilson
from spokendigits.publish import npm
from spokendigits.publish.extension import MOVING
from spokendigits.topics.coverage import coverage

pytestmark = pytest.mark.slow

SAMPLE, PRICE = "notebooks/04_evaluation", "notebooks/07_small_and_fast"
EXACT = 1e-8


# ---- What holds for all ----


def test_every_figure_that_moves_stands_on_a_page_and_says_what_it_is_where_it_cannot(soups, places):
    assert set(places) == set(MOVING)
    for name, page in places.items():
        (figure,) = soups[f"{page}.html"].select(f'[data-moving="{name}"]')
        assert len(figure.get_text().split()) > 8, f"{name}: nothing is said where scripts do not run"


@pytest.mark.parametrize("name", MOVING)
def test_no_barrier_and_nothing_sideways(moved, name):
    found = set()
    for size, scheme in ((WIDE, "light"), (NARROW, "light"), (WIDE, "dark")):
        page = moved(name, size, scheme)
        page.wait_for_timeout(500)
        found |= {(scheme, size["width"], *barrier) for barrier in barriers(page, f".{name}-stage")}
        assert sideways(page) <= 0, (scheme, size)
        texts = page.eval_on_selector_all(
            f".{name}-stage :is(svg[role=img], canvas[role=img])",
            "all => all.map(one => one.getAttribute('aria-label'))",
        )
        assert all(len(text or "") > 30 for text in texts), texts
    assert found == set()


@pytest.mark.parametrize("name", MOVING)
def test_it_works_from_a_server_and_without_scripts_a_sentence_stays(moved, opened, places, html, name):
    with served(html) as address:
        page = moved(name, folder=address)
        assert page.locator(f".{name}-stage button").count() > 0


def test_a_figure_is_not_printed_and_is_on_no_slide():
    from spokendigits.publish import runner
    from tools.slides import deck

    for path in runner.notebooks(lanes.repository() / "notebooks"):
        slides = deck(runner.read(path))
        assert not [block for slide in slides for block, _ in slide.blocks if "data-moving" in str(block)], path.name


def test_without_what_draws_the_sentence_stays(opened, html, places, tmp_path):
    for path in html.iterdir():
        if path.name != "_static":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "_static").mkdir()
    for path in (html / "_static").iterdir():
        if path.name != "moving":
            (tmp_path / "_static" / path.name).symlink_to(path)
    (tmp_path / "_static" / "moving").mkdir()
    for path in (html / "_static" / "moving").iterdir():
        if path.suffix == ".css" or not re.match(r"d3|plot", path.name):
            (tmp_path / "_static" / "moving" / path.name).symlink_to(path)
    page = opened(SAMPLE, folder=tmp_path)
    page.wait_for_load_state("load")
    assert page.locator(".moving p").count() == page.locator(".moving").count() > 0
    assert page.locator(".moving-stage").count() == 0


def test_the_page_comes_with_the_licences_of_what_draws(html, places):
    for package in (npm.D3, npm.PLOT):
        text = (html / "_static" / "moving" / f"{package.folder}-LICENSE.txt").read_text()
        assert "Permission to use, copy, modify, and/or distribute this software" in text


# ---- Who was in the sample ----


def test_intervals_equal_pythons(moved):
    page, random = moved("sample"), np.random.default_rng(0)
    for speakers in (1, 2, 3, 6, 12, 40):
        for mean in (0.0, 0.6, 0.95, 1.0):
            clips = np.full(speakers, 50)
            right = random.binomial(clips, mean)
            low, high = speaker_interval(right, clips)
            found = page.evaluate(
                "([right, clips]) => spoken.speakerInterval(right, clips)", [right.tolist(), clips.tolist()]
            )
            assert found == pytest.approx({"low": float(low), "high": float(high)}, abs=EXACT), (speakers, mean)
            low, high = wilson(right.sum(), clips.sum())
            found = page.evaluate(
                "([right, clips]) => spoken.wilson(right, clips)", [int(right.sum()), int(clips.sum())]
            )
            assert found == pytest.approx({"low": float(low), "high": float(high)}, abs=EXACT)
    # Speakers who count differently are worth a broken number of them: between two quantiles the browser draws a line.
    right, clips = [45, 9, 20], [50, 10, 22]
    low, high = speaker_interval(right, clips)
    found = page.evaluate("([right, clips]) => spoken.speakerInterval(right, clips)", [right, clips])
    assert found == pytest.approx({"low": float(low), "high": float(high)}, abs=0.01)


def test_a_thousand_tests_keep_the_promise_as_often_as_in_python(moved):
    page = moved("sample")
    plan = {"speakers": 6, "clips": 50, "spread": 0.7}
    held = page.evaluate(
        """([plan, tests]) => {
            const random = d3.randomLcg(0.1), held = [0, 0];
            for (let i = 0; i < tests; i++) spoken.drawTest(random, plan).intervals.forEach((one, way) => (held[way] += one.holds));
            return held.map((one) => one / tests);
        }""",
        [plan, 4000],
    )
    naive = functools.partial(
        coverage, method=lambda right, clips, level: wilson(right.sum(axis=-1), clips.sum(), level)
    )
    for share, method in zip(held, (coverage, naive), strict=True):
        assert share == pytest.approx(method(**plan, mean=0.95)["coverage"], abs=0.02)


def test_a_reader_draws_tests_changes_them_and_starts_again(moved):
    page = moved("sample")
    first = status(page, "sample")
    assert first.startswith("This test found") and "The truth is 95 %" in first
    press(page, "sample", "Draw a thousand")
    many = status(page, "sample")
    ours, naive = map(float, re.findall(r"in ([\d.]+) %", many))
    assert many.startswith("Of 1,001 tests") and naive < 90 < 94 < ours
    assert page.locator(".sample-tests svg [data-mark=rule] line").count() >= 80, "forty tests, two intervals each"
    for _ in range(20):  # as somebody does who wants to be sure
        press(page, "sample", "Draw a thousand")
    assert status(page, "sample").startswith("Of 21,001 tests")
    # Of speakers who are all alike a count of clips is enough.
    page.check(".sample-stage input[type=radio] >> nth=0")
    press(page, "sample", "Draw a thousand")
    assert all(float(one) > 93 for one in re.findall(r"in ([\d.]+) %", status(page, "sample")))
    assert min(drag(page, "sample", 0, value) for value in (5, 30, 12, 8)) < REDRAW
    assert page.locator(".sample-people circle").count() == 8
    press(page, "sample", "Start again")
    assert status(page, "sample") == first


def test_the_keyboard_alone_moves_it(moved):
    page = moved("sample")
    page.focus(".sample-stage input[type=range]")
    page.keyboard.press("ArrowRight")
    assert page.inner_text(".sample-stage output >> nth=0") == "7"
    for _ in range(5):  # past the second slider and the choice, to the first button
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Draw a test":
            break
    page.keyboard.press("Enter")
    assert status(page, "sample").startswith("Of 2 tests")


# ---- The price of a mistake ----


def counted(threshold: float) -> dict[str, int]:
    """What Python counts in the stored scores."""
    scores = lanes.stored("strangers")["scores"]
    digits, right = np.array(scores["digits"]).T
    kept = digits >= threshold
    taken = {
        name: int((np.array(scores[key]) >= threshold).sum())
        for name, key in (("words", "other words"), ("noises", "noises"))
    }
    return {
        "right": int((kept & (right == 1)).sum()),
        "wrong": int((kept & (right == 0)).sum()),
        "away": int((~kept).sum()),
        **taken,
    }


def test_counts_equal_pythons_and_those_of_the_study(moved):
    page, study = moved("price"), lanes.stored("strangers")
    for threshold in (-9, -3, study["threshold"], study["kept"]["threshold"], -0.01, 0.1):
        found = page.evaluate(
            "async (at) => spoken.price.count((await spoken.read('strangers.json')).scores, at)", threshold
        )
        assert found == counted(threshold), threshold
        found = page.evaluate(
            """async (at) => spoken.price.cost((await spoken.read('strangers.json')).scores, at, { wrong: 3, taken: 2 }, 0.2)""",
            threshold,
        )
        here = counted(threshold)
        right_and_wrong = 20 * (here["away"] + 3 * here["wrong"]) / 106, 80 * 2 * here["words"] / 168
        assert found == pytest.approx(sum(right_and_wrong)), (
            "questions asked again, of twenty digits and eighty other words"
        )
    found, told = counted(study["threshold"]), study["strangers"]
    # Rounded scores may lie on the other side of a threshold that is one of them: one clip at most.
    assert abs(found["right"] - told["digits"]["accuracy"] * 106) <= 1
    assert abs(found["words"] - told["words"]["taken"]["accuracy"] * 168) <= 1
    assert abs(found["noises"] - told["noises"]["taken"]["accuracy"] * 1990) <= 1


def test_a_reader_drags_the_threshold_and_finds_the_cheapest(moved):
    page = moved("price")
    first = status(page, "price")
    assert re.match(r"Of 106 digits, 10\d are read rightly", first)
    drag(page, "price", 0, -7)
    assert re.search(r", 0 turned away.* all|168 other words, 1\d\d are taken", status(page, "price"))
    drag(page, "price", 0, 7)
    away = int(re.search(r"(\d+) turned away", status(page, "price"))[1])
    assert away > 40
    cheapest = {}
    for place, name in enumerate(("game", "menu", "bank")):
        page.check(f".price-stage input[type=radio] >> nth={place}")
        press(page, "price", "Go to the cheapest")
        cheapest[name] = float(page.input_value(".price-stage input[type=range] >> nth=0"))
    assert cheapest["game"] < cheapest["menu"] <= cheapest["bank"], "the dearer a mistake, the higher the threshold"
    assert min(drag(page, "price", 0, value) for value in (1, 2, 3, 4)) < REDRAW
    press(page, "price", "Start again")
    assert status(page, "price") == first

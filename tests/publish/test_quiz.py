"""The quizzes at the end of the notebooks: what every question must have, and what quiz.js makes of it in a browser."""

import re
from collections import Counter
from pathlib import Path

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup

from spokendigits.publish import runner

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "book" / "_static"
NOTEBOOKS = [path.stem for path in runner.notebooks(ROOT / "notebooks")]
HEADING, SUMMARY = "## Check yourself", "## What you have now"


def section(name: str) -> list[str]:
    """The sources of the quiz's cells, its heading first; empty where the notebook has none."""
    sources = [cell.source for cell in nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4).cells]
    starts = [i for i, source in enumerate(sources) if source.startswith(HEADING)]
    if not starts:
        return []
    (start,), (end,) = starts, [i for i, source in enumerate(sources) if source.startswith(SUMMARY)]
    return sources[start:end]


QUIZZES = {name: section(name) for name in NOTEBOOKS}


def answers(source: str) -> list[tuple[bool, str, str]]:
    """The answers of one question: whether it is right, what it says, and its explanation without the verdict."""
    found = []
    for tag in BeautifulSoup(source, "html.parser").select("details.answer"):
        said = {"right": "Right.", "wrong": "Not this one."}
        (kind,) = set(tag["class"]) & said.keys()
        (explanation,) = tag.find_all("p")
        verdict = explanation.b.extract()
        assert verdict.get_text() == said[kind], tag
        found.append((kind == "right", tag.summary.get_text(), explanation.get_text().strip()))
    return found


@pytest.mark.parametrize("name", QUIZZES)
class TestEach:
    def test_six_questions_of_a_form_that_needs_no_script(self, name):
        heading, *questions = QUIZZES[name] or [""]
        assert len(questions) == 6 and "Tab" in heading and "Enter" in heading
        for number, source in enumerate(questions, 1):
            asked, block = source.split("\n\n", 1)
            assert re.fullmatch(rf"\*\*{number}\. .+\?\*\*", asked), asked
            # Markdown ends an HTML block at the first empty line, and would go on reading after it.
            assert re.fullmatch(r'<div class="question">\n(\S.*\n)+</div>', block), source
            assert len(re.findall(r'^<details class="answer (?:right|wrong)">$', block, re.MULTILINE)) == block.count(
                "<details"
            )
            assert not re.search(r"[`*]|\]\(", block), f"Markdown inside HTML stays as it is: {source}"
            assert str(BeautifulSoup(block, "html.parser")) == block, (
                "a tag is closed twice, never, or in another place"
            )

    def test_three_answers_or_more_one_right_and_each_explained(self, name):
        for source in QUIZZES[name][1:]:
            found = answers(source)
            assert len(found) >= 3 and sum(right for right, _, _ in found) == 1, source
            assert len({text for _, text, _ in found}) == len({why for _, _, why in found}) == len(found), source
            for _, text, why in found:
                assert len(why) >= 40, f"{text}: {why}"

    def test_neither_place_nor_length_gives_the_right_answer_away(self, name):
        places, extremes = Counter(), Counter()
        for source in QUIZZES[name][1:]:
            found = answers(source)
            place = [right for right, _, _ in found].index(True)
            lengths = [len(text) for _, text, _ in found]
            places[place] += 1
            assert max(lengths) <= 1.5 * min(lengths), f"answers of one length, please: {source}"
            others = lengths[:place] + lengths[place + 1 :]
            extremes["longest"] += lengths[place] > max(others)
            extremes["shortest"] += lengths[place] < min(others)
        assert len(places) >= 3 and max(places.values()) <= 3, places
        assert max(extremes.values()) <= 3, extremes

    def test_no_result_is_typed_into_it(self, name):
        assert not re.findall(r"\d ?%|\b0\.9\d+", "\n".join(QUIZZES[name]))


def test_the_script_asks_nobody_and_keeps_nothing():
    text = (STATIC / "quiz.js").read_text(encoding="utf-8")
    assert not re.search(r"//(?! )", text), "an address"
    assert not re.search(r"fetch|XMLHttp|WebSocket|sendBeacon|import|src\b|href|[sS]torage|cookie", text)
    assert "quiz.js" in yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]["html_js_files"]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(("theme", "background"), [("light", "#ffffff"), ("dark", "#14181e")])
def test_the_verdicts_can_be_read(theme, background):
    """By their contrast, at least 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    rules = re.search(rf'data-theme="{theme}"\] \{{(.*?)\}}', (STATIC / "course.css").read_text(), re.DOTALL)[1]
    for name in ("primary", "secondary"):
        colour = re.search(rf"--pst-color-{name}: (#\w{{6}})", rules)[1]
        dark, light = sorted(map(luminance, (colour, background)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, colour


def opened_quiz(opened):
    """The first notebook's page of the book, and for each question the places of its right answer and of a wrong one."""
    right = [[right for right, _, _ in answers(source)] for source in QUIZZES[NOTEBOOKS[0]][1:]]
    page = opened(f"notebooks/{NOTEBOOKS[0]}")
    return page, [(each.index(True), each.index(False)) for each in right]


def choose(page, question: int, place: int) -> None:
    """Opens an answer with the keyboard."""
    page.locator(".question").nth(question).locator("summary").nth(place).press("Enter")


def score(page) -> str:
    return " ".join(page.inner_text(".quiz-score p").split())


@pytest.mark.slow
def test_in_a_browser_the_first_try_counts(opened):
    """Right, wrong and then right, right: two at first try. The rest stay unopened."""
    page, ((first, _), (second, wrong), (third, _), *_) = opened_quiz(opened)
    assert score(page) == "0 of 6 right at first try, 6 to go"
    for question, place in ((0, first), (1, wrong), (1, second), (2, third)):
        choose(page, question, place)
    page.wait_for_function("document.querySelectorAll('details.marked').length === 4")
    assert score(page) == "Question 3: right. 2 of 6 right at first try, 3 to go"
    marked = page.locator("details.marked")
    verdicts = zip(
        marked.evaluate_all("all => all.map(one => one.classList[1])"),
        marked.locator(".verdict").all_inner_texts(),
        strict=True,
    )
    assert Counter(verdicts) == {("right", "right"): 3, ("wrong", "not this one"): 1}
    assert page.get_attribute(".quiz-score p", "aria-live") == "polite"
    labels = page.locator(".question").evaluate_all(
        "all => all.map(one => document.getElementById(one.getAttribute('aria-labelledby')).textContent)"
    )
    assert len(labels) == 6 and all(label.endswith("?") for label in labels)


@pytest.mark.slow
def test_in_a_browser_all_right_and_then_once_more(opened):
    page, places = opened_quiz(opened)
    for question, (right, _) in enumerate(places):
        choose(page, question, right)
    page.wait_for_function("document.querySelectorAll('details.marked').length === 6")
    assert score(page) == "Question 6: right. 6 of 6 right at first try"
    page.click(".quiz-score button")
    assert score(page) == "0 of 6 right at first try, 6 to go"
    assert page.locator(".question details[open], .marked, .verdict").count() == 0
    assert page.locator(".question").first.locator("summary").first.evaluate("one => one === document.activeElement")

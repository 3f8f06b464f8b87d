"""The quizzes at the end of the notebooks: what every question must have, and what quiz.js makes of it in a browser."""

import re
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from spokendigits.publish import runner

ROOT = Path(__file__).resolve().parents[2]
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
            assert not re.findall(r"\d ?%|\b0\.9\d+", source), f"a result is typed into it: {source}"
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


@pytest.mark.slow
def test_in_a_browser_the_first_try_counts_until_all_begins_once_more(opened):
    """Right, wrong and then right, right: two at first try. The rest stay unopened; then all are right."""
    page = opened(f"notebooks/{NOTEBOOKS[0]}")
    right = [[right for right, _, _ in answers(source)] for source in QUIZZES[NOTEBOOKS[0]][1:]]
    places = [each.index(True) for each in right]

    def choose(*chosen: tuple[int, int]) -> str:
        """Opens answers, (question, place), with the keyboard; returns the score."""
        for question, place in chosen:
            page.locator(".question").nth(question).locator("summary").nth(place).press("Enter")
        page.wait_for_function(f"document.querySelectorAll('details.marked').length === {len(chosen)}")
        return " ".join(page.inner_text(".quiz-score p").split())

    assert choose() == "0 of 6 right at first try, 6 to go"
    said = choose((0, places[0]), (1, right[1].index(False)), (1, places[1]), (2, places[2]))
    assert said == "Question 3: right. 2 of 6 right at first try, 3 to go"
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
    page.click(".quiz-score button")
    assert choose() == "0 of 6 right at first try, 6 to go"
    assert page.locator(".question details[open], .marked, .verdict").count() == 0
    assert page.locator(".question").first.locator("summary").first.evaluate("one => one === document.activeElement")
    assert choose(*enumerate(places)) == "Question 6: right. 6 of 6 right at first try"

"""What the pages and the notebooks say of themselves: numbers, minutes, plans, messages, commands. No page is built here."""

import ast
import re
import shlex
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from small_course import contents, notebook

from spokendigits import lanes, plots
from spokendigits.app import cli
from spokendigits.errors import CourseError
from spokendigits.publish import book, extension, words
from tools.reading import reading_minutes

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = [page.removeprefix("notebooks/") for page in book.pages(ROOT) if page.startswith("notebooks/")]


def test_each_figure_of_a_chapter_has_a_caption_of_its_own():
    for name in NOTEBOOKS:
        cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
        shown = [
            output.data for cell in cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
        ]
        captions = [plots.described(one["text/plain"])[1] for one in shown]
        assert len(captions) >= 3 and len(set(captions)) == len(captions), name
        assert [caption for caption in captions if not extension.SENTENCE.fullmatch(caption)] == []


def test_a_figure_keeps_alt_text_and_caption_apart_and_says_what_is_in_its_pictures():
    recipe = lanes.recipe("fast", "synthetic")
    picture = np.full((recipe.n_mels, recipe.frames), -80.0)
    picture[10, 20] = 0  # one bright place, and one mel bin that is not empty
    text = plots.mel_pictures(picture[None], ["digit 7"], recipe, caption="Look up.")._repr_mimebundle_()["text/plain"]
    alt, caption = plots.described(text)
    seconds = 20 * recipe.hop / recipe.sample_rate
    assert (
        f"digit 7: 0% of it bright, loudest at {seconds:.2f} s in mel bin 10, {recipe.n_mels - 1} mel bins without"
        in alt
    )
    assert caption == "Look up." and "\n" not in alt + caption
    assert plots.described("'Only this.'") == ("Only this.", "")


def test_no_result_is_typed_into_a_page():
    for page in (ROOT / "book").glob("*.md"):
        typed = re.findall(r"\b\d+(?:\.\d+)? ?%|\b0\.9\d+", page.read_text(encoding="utf-8"))
        assert typed == [], f"{page.name}: {typed}. Put it in book/results and show it as {{{{ name }}}}."


def test_every_number_that_a_page_shows_is_there():
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("*.md")]
    used = {name for text in texts for name in re.findall(r"\{\{ *(\w+) *\}\}", text)}
    assert len(used) > 100
    assert used - words.prose().keys() - book.minutes(ROOT / "notebooks").keys() == {"over_seed_alt"}, (
        "made with its figure"
    )


def test_the_minutes_that_a_notebook_states_are_read(tmp_path):
    openings = {
        "01_a": "# A\n\n**You need** 9 minutes.\n**Time** 30 minutes to read and run, 20 more for the exercises.",
        "02_b": "# B\n\n**Time** 5 minutes, a few of them spent training; 7 more for the exercises.",
    }
    contents(tmp_path, *openings)
    for name, opening in openings.items():
        notebook(tmp_path / "notebooks", name, [new_markdown_cell(opening)])
    stated = {"minutes_01_a": "30", "exercises_01_a": "20", "minutes_02_b": "5", "exercises_02_b": "7"}
    assert book.minutes(tmp_path / "notebooks") == stated
    notebook(tmp_path / "notebooks", "02_b", [new_markdown_cell("# B\n\n**Time** soon.")])
    with pytest.raises(CourseError, match=r"02_b\.ipynb: its first cell does not say"):
        book.minutes(tmp_path / "notebooks")
    cut = tmp_path / "notebooks" / "02_b.ipynb"
    cut.write_text(cut.read_text()[:99])
    with pytest.raises(CourseError, match=r"02_b\.ipynb: no whole notebook"):
        book.minutes(tmp_path / "notebooks")


def test_reading_minutes_count_what_is_seen(tmp_path):
    prose = "word " * 300  # two minutes
    code = "\n".join(f"x = {i}" for i in range(50))  # six minutes
    data = {"image/png": "x", "text/plain": "a figure"}, {"text/html": "<audio></audio>" * 4}
    shown = [new_output("display_data", data=part) for part in data]
    cells = [new_markdown_cell(prose), new_code_cell(code)]
    cells += [
        new_code_cell(code, outputs=shown, metadata={"tags": [tag]})
        for tag in ("hide-cell", "remove-cell", "hide-input")
    ]
    practice = [
        new_markdown_cell("## Exercise 1"),
        new_code_cell(code),
        new_markdown_cell("## Check yourself " + prose),
    ]
    notebook(tmp_path, "a", [*cells, *practice])
    estimate = reading_minutes(tmp_path / "a.ipynb", seconds=90)
    assert estimate["read"] == pytest.approx(1.5 + 2 + 6 + 0 + 2 / 3), "of what is folded with its output, nothing"
    assert estimate["questions"] == pytest.approx(2 + 2 / 150)
    (tmp_path / "a.md").write_text(
        f"{prose}\n```bash\nmake run \\\n  VENV=env\nmake test\n```\n```{{figure}} a.png\n:alt: {prose}\n\n{prose}\n```\n"
    )
    assert reading_minutes(tmp_path / "a.md")["read"] == pytest.approx(4 + (2 * 7.2 + 20) / 60, abs=0.02)


def test_a_page_takes_at_most_25_minutes():
    paths = [ROOT / f"{page}.md" for page in book.pages(ROOT) if page.startswith("book/")]
    assert [path.name for path in paths if reading_minutes(path)["read"] > 25] == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_states_the_minutes_that_it_takes_and_those_are_at_most_25(name):
    """Without exercises and questions. Its run time is the one measured last: `make outputs`."""
    path = ROOT / f"notebooks/{name}.ipynb"
    found = reading_minutes(path, float(lanes.stored("fast")["prose"][f"seconds_{name}"]))
    stated = re.search(
        r"\*\*Time\*\* (\d+) minutes to read and run, (\d+) for the questions at the end, \d+ more for the exercises\.",
        nbformat.read(path, as_version=4).cells[0].source,
    )
    assert stated, "the opening cell states its minutes in another way"
    assert int(stated[1]) == pytest.approx(found["read"], abs=2), (
        f"states {stated[1]} minutes, takes {found['read']:.0f}"
    )
    assert int(stated[2]) == pytest.approx(found["questions"], abs=2)
    assert max(found["read"], int(stated[1])) <= 25


def page(name: str) -> str:
    return (ROOT / f"book/{name}.md").read_text(encoding="utf-8")


def headings() -> list[str]:
    """The headings of all notebooks, without what follows a number of minutes."""
    cells = [cell for name in NOTEBOOKS for cell in nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4).cells]
    return [line.lstrip("# ") for cell in cells for line in cell.source.splitlines() if line.startswith("## ")]


def test_every_notebook_with_a_measured_time_is_in_the_teachers_table():
    measured = [name for name in lanes.stored("fast")["prose"] if name.startswith("seconds_")]
    assert measured
    for name in measured:
        stem = name.removeprefix("seconds_")
        for kind in ("minutes", "exercises", "seconds"):
            assert f"{{{{ {kind}_{stem} }}}}" in page("teaching"), f"book/teaching.md has no row for {stem}"


@pytest.mark.parametrize(("plan", "minutes"), [("plan-90", 90), ("plan-half-day", 210), ("plan-day", 390)])
def test_a_plan_fills_its_time_and_leaves_each_notebook_enough(plan, minutes):
    text = page("teaching").split(f"({plan})=")[1].split("\n## ")[0].split("\n### ")[1]
    assert f"{minutes} minutes" in text.splitlines()[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if re.match(r"\| \d", line)
    ]
    passed = 0
    for start, length, *_ in rows:
        assert int(start) == passed, f"{plan}: the row at {start} should start at {passed}"
        passed += int(length)
    assert passed == minutes
    assert text.count("**Stop point") >= 2 and all(len(row) == 4 for row in rows)
    stated = book.minutes(ROOT / "notebooks")
    for _, length, number, doing in rows:
        if doing.startswith("The whole notebook"):
            (name,) = [name for name in NOTEBOOKS if number and name.startswith(f"0{number}_")]
            assert int(length) >= int(stated[f"minutes_{name}"]), f"{plan}: notebook {number} takes longer"
    for exercise in re.findall(r'"([^"]+)"', re.sub(r'\*\*Stop point:\*\* "[^"]+"', "", text)):
        assert any(re.fullmatch(rf"Exercise \d+ · {re.escape(exercise)} \(.*", one) for one in headings()), exercise
    for part in re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", text):
        assert any(one.startswith(part.rstrip(".")) for one in headings()), part


def said_by_the_package() -> list[str]:
    """Every text in the source of package, Makefile and page, with `\0` for what is filled in when it is said."""
    page = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "book/_static/say").glob("*.js"))
    texts = [(ROOT / "Makefile").read_text(), re.sub(r"\$\{\w+\}", "\0", page)]
    for path in (ROOT / "spokendigits").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def test_messages_on_the_page_of_symptoms_are_the_packages_own():
    """A reader searches the page for what stands on the screen. Messages of others are in single backticks."""
    texts = said_by_the_package()
    messages = re.findall(r"^- `` ?(.+?) ?``$", page("troubleshooting"), re.MULTILINE)
    assert len(messages) >= 25
    for message in messages:
        message = re.sub(r"^\[(?:WARN|FAIL)\] [\w, -]+: |^WARNING: ", "", message)
        fragments = [fragment for part in message.split("…") if len(fragment := part.strip(" :.,;()")) > 3]
        assert fragments, message
        for fragment in fragments:
            assert any(fragment in text for text in texts), f"not said by the package: {fragment!r}"


@pytest.mark.parametrize("name", ["projects", "teaching", "troubleshooting"])
def test_commands_and_settings_on_a_page_are_known(name):
    text = page(name).replace("\\\n", " ")
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    lines = [*(line for block in blocks for line in block.splitlines()), *inline]
    known = [line for line in lines if line.startswith("spokendigits ")]
    assert known
    for line in known:
        options = cli.parser().parse_args(shlex.split(line)[1:])
        if options.command == "train":
            settings = dict(map(cli.setting, options.set))
            lanes.recipe("fast", options.corpus or "synthetic").but(**settings)
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in lines:
        assert not (found := re.match(r"make ([a-z]+)", line)) or found[1] in targets, line
    for line in inline:
        if line.startswith("--set "):
            lanes.recipe("fast", "synthetic").but(**dict(cli.setting(one) for one in line.split()[1::2]))

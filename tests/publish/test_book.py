"""The book, built once from stand-in notebooks and once from the stored ones, as a reader without a network gets it."""

import ast
import base64
import io
import json
import re
import shlex
from pathlib import Path
from urllib.parse import unquote

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup

from spokendigits import lanes, listen, plots
from spokendigits.app import cli
from spokendigits.errors import CourseError
from spokendigits.publish import book, card

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = [page.removeprefix("notebooks/") for page in book.pages(ROOT) if page.startswith("notebooks/")]
ALT_TEXTS = (
    "Bars of the durations of five clips, all between 0.3 and 0.9 s.",
    "A line that rises from 0 to 1 in five steps.",
)
CAPTION = "Each bar is one clip, and a long bar is a long clip."


def used_substitutions() -> set[str]:
    """Every name that a page shows as `{{ name }}`, the original experiment's left out: it is always there."""
    names = {
        name for page in (ROOT / "book").glob("*.md") for name in re.findall(r"\{\{ *(\w+) *\}\}", page.read_text())
    }
    return names - set(json.loads((ROOT / "book/results/seed.json").read_text())["prose"])


def results() -> dict[str, str]:
    """Stand-ins for what a run found; the benchmark is no part of a run, so the stored one is shown."""
    names = {name for name in used_substitutions() if not name.startswith("bench_")}
    return {name: f"<{name}>" for name in names} | {"corpus": "Synthetic digits (synthetic speech)"}


def figure(colour: str) -> str:
    fig, axes = plt.subplots(figsize=(5, 2))
    axes.plot(np.linspace(0, 1, 5), color=colour)
    buffer = io.BytesIO()
    fig.savefig(buffer, dpi=60)
    plt.close(fig)
    return base64.b64encode(buffer.getvalue()).decode()


def output(**data) -> dict:
    data = {name.replace("_", "/"): value for name, value in data.items()}
    return nbformat.v4.new_output("display_data", data=data)


def stand_in(name: str, alt_texts: tuple[str, ...] = ALT_TEXTS) -> nbformat.NotebookNode:
    """A small executed notebook with one of everything that the course's notebooks show."""
    new = nbformat.v4
    table = pd.DataFrame(
        np.round(np.random.default_rng(0).random((4, 14)), 3), columns=[f"column {i}" for i in range(14)]
    )
    texts = [text if "\n\n" in text else f"{text}\n\n{CAPTION}" for text in alt_texts]
    figures = [output(image_png=figure(f"C{i}"), text_plain=text) for i, text in enumerate(texts)]
    tone = 0.1 * np.sin(np.arange(4000) / 5)
    sounds = listen.players([(tone, f"digit {digit}, synthetic") for digit in range(4)], 8000)
    bar = new.new_output("stream", name="stderr", text="clips: 100%|####| 4/4\n")
    cells = [
        new.new_markdown_cell(f"# {name}\n\nObjectives: see how a page looks. The corpus is {{{{ corpus }}}}."),
        new.new_code_cell('corpus = "synthetic"', execution_count=1, metadata={"tags": ["parameters"]}),
        new.new_code_cell("figure, another  # two figures in one cell", execution_count=2, outputs=figures),
        new.new_code_cell("table", execution_count=3, outputs=[output(text_html=table.to_html(), text_plain="table")]),
        new.new_code_cell(
            "players(clips)", execution_count=4, outputs=[output(text_html=sounds.data, text_plain="players")]
        ),
        new.new_markdown_cell(
            "## Exercise\n\nWhat is a {term}`hop`? `table[PROBABILITIES].to_numpy()[np.arange(len(table)), digit]` tells. See {cite:t}`stevens1937mel`."
        ),
        new.new_code_cell(
            "long = '" + "x" * 150 + "'\nprint(long)",
            execution_count=5,
            metadata={"tags": ["hide-cell", "solution"]},
            outputs=[new.new_output("stream", name="stdout", text="x" * 150 + "\n")],
        ),
        new.new_code_cell("make_clips(corpus)", execution_count=6, outputs=[bar]),
    ]
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        # As a library's widget leaves it behind: its scripts would come from another host.
        "widgets": {
            "application/vnd.jupyter.widget-state+json": {"state": {"a": {"model_name": "FloatProgressModel"}}}
        },
    }
    return new.new_notebook(cells=cells, metadata=metadata)


def write_stand_ins(folder: Path, **changes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in NOTEBOOKS:
        nbformat.write(changes.get(name, stand_in(name)), folder / f"{name}.ipynb")
    return folder


@pytest.fixture(scope="module", params=["stand-in", "stored"])
def html(request, tmp_path_factory) -> Path:
    """The folder of a built book."""
    folder = tmp_path_factory.mktemp("book")
    if request.param == "stand-in":
        return book.build(write_stand_ins(folder / "notebooks"), folder / "made", results()).parent
    return book.build(ROOT / "notebooks", folder / "made").parent


@pytest.fixture(scope="module")
def soups(html) -> dict[str, BeautifulSoup]:
    """Every page of the built book, parsed, by its path."""
    paths = sorted(html.rglob("*.html"))
    return {
        path.relative_to(html).as_posix(): BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in paths
        if "_static" not in path.relative_to(html).parts
    }


def elsewhere(address: str) -> bool:
    return bool(re.match(r"(?:[a-z]+:)?//", address.strip(), re.IGNORECASE))


def test_every_page_is_there_and_the_first_leads_to_the_front_page(html, soups):
    assert [page for page in book.pages(ROOT) if f"{page}.html" not in soups] == []
    refresh = soups["index.html"].find("meta", attrs={"http-equiv": "Refresh"})
    assert refresh is not None and refresh["content"].endswith("book/index.html")


def test_every_picture_is_described(soups):
    described = 0
    for name, soup in soups.items():
        for image in soup.select("article img"):
            assert len(image.get("alt", "")) > book.SHORTEST_ALT_TEXT, f"{name}: {image.get('src')}"
            assert not image["alt"].startswith("<"), f"{name}: {image['alt']}"
            described += 1
    assert described > len(NOTEBOOKS)


def test_figures_of_one_cell_keep_their_own_alt_texts(html, soups, request):
    if "stand-in" not in request.node.name:
        pytest.skip("looks at a stand-in's two figures")
    images = soups[f"notebooks/{NOTEBOOKS[0]}.html"].select(".cell_output img")
    assert [image["alt"] for image in images] == list(ALT_TEXTS)


def test_every_figure_has_a_sentence_below_it_that_does_not_repeat_its_alt_text(soups):
    """A clip's card is no figure of this kind: its caption names who says what, as a player's label does."""
    checked = 0
    for name, soup in soups.items():
        for image in soup.select("article img"):
            if image.find_parent(class_="players") or "front-picture" in image.get("class", []):
                continue
            box = image.find_parent("figure")
            assert box is not None and box.figcaption is not None, f"{name}: no caption below {image['alt']}"
            caption = " ".join(box.figcaption.select_one(".caption-text").get_text().split())
            assert book.SENTENCE.fullmatch(caption), f"{name}: only a label: {caption!r}"
            assert caption not in image["alt"] and image["alt"] not in caption, f"{name}: said twice: {caption!r}"
            checked += 1
    assert checked > len(NOTEBOOKS)


def test_each_kind_of_figure_has_a_caption_of_its_own():
    captions = {}
    for function in ast.parse(Path(plots.__file__).read_text(encoding="utf-8")).body:
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "describe":
                captions[function.name] = ast.literal_eval(call.args[2])
    assert len(captions) >= 20 and len(set(captions.values())) == len(captions)
    assert [name for name, caption in captions.items() if not book.SENTENCE.fullmatch(caption)] == []


def test_a_figure_keeps_alt_text_and_caption_apart_and_says_what_is_in_its_pictures():
    recipe = lanes.recipe("fast", "synthetic")
    picture = np.full((recipe.n_mels, recipe.frames), -80.0)
    picture[10, 20] = 0  # one bright place, and one mel bin that is not empty
    text = plots.mel_pictures(picture[None], ["digit 7"], recipe)._repr_mimebundle_()["text/plain"]
    alt, caption = plots.described(text)
    seconds = 20 * recipe.hop / recipe.sample_rate
    assert (
        f"digit 7: 0% of it bright, loudest at {seconds:.2f} s in mel bin 10, {recipe.n_mels - 1} mel bins without"
        in alt
    )
    assert caption.startswith("Time runs to the right") and "\n" not in alt + caption
    assert plots.described("'Only this.'") == ("Only this.", "")


def test_solutions_are_folded(soups, request):
    if "stand-in" not in request.node.name:
        pytest.skip("looks at a stand-in's cells")
    page = soups[f"notebooks/{NOTEBOOKS[0]}.html"]
    assert "Show the solution" in page.find("details").get_text()


def test_a_progress_bar_shows_only_its_last_state(soups):
    """In a terminal a bar draws over itself. Its stored states must not become a column of bars."""
    for name, soup in soups.items():
        for box in soup.select(".cell_output"):
            labels = re.findall(r"^(.*?): +\d+%\|", box.get_text(), re.MULTILINE)
            assert len(labels) == len(set(labels)), f"{name}: {len(labels)} states of {sorted(set(labels))}"


def test_no_page_loads_anything_from_another_host(html, soups):
    loading = {"src", "srcset", "data", "poster", "action", "background", "manifest"}
    for name, soup in soups.items():
        for tag in soup.find_all(True):
            addresses = [tag[attribute] for attribute in loading if tag.get(attribute)]
            if tag.name in ("link", "use", "image", "base") and tag.get("rel") != ["canonical"]:
                addresses.append(tag.get("href", ""))
            if tag.get("style"):
                addresses += re.findall(r"url\(['\"]?([^'\")]+)", tag["style"])
            assert not [address for address in addresses if elsewhere(address)], f"{name}: {tag.name} {addresses}"
        assert not soup.find_all("iframe"), name
        scripts = " ".join(script.get("src", "") for script in soup.find_all("script")).lower()
        for unwanted in ("mathjax", "require", "widget", "analytics", "thebe"):
            assert unwanted not in scripts, f"{name} loads {unwanted}"
        inline = " ".join(script.get_text() for script in soup.find_all("script") if not script.get("src"))
        assert not re.search(r"https?://", inline), f"{name}: a script names another host"
        for style in soup.find_all("style"):
            assert not re.search(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", style.get_text()), name
    for sheet in html.rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", sheet.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.search(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", text), sheet.name


def test_links_inside_the_book_lead_somewhere(html, soups):
    for name, soup in soups.items():
        for tag in soup.select("a[href], link[href], script[src], img[src]"):
            address = unquote(tag.get("href") or tag.get("src"))
            if elsewhere(address) or address.startswith(("data:", "mailto:", "javascript:", "#")):
                continue
            file = (html / name).parent / re.split(r"[#?]", address)[0]
            assert file.exists(), f"{name}: {address}"


def test_anchors_inside_the_book_are_there(html, soups):
    """Sphinx checks those that the pages' authors wrote. This one sees all: the theme's, those in HTML, those in outputs."""
    followed = 0
    for name, soup in soups.items():
        for tag in soup.select("a[href*='#']"):
            address, _, anchor = unquote(tag["href"]).partition("#")
            if elsewhere(address) or not anchor:
                continue
            target = (html / name).parent / address.split("?")[0] if address else html / name
            page = soups.get(target.resolve().relative_to(html.resolve()).as_posix())
            assert page is None or page.find(attrs={"id": anchor}) or page.find("a", attrs={"name": anchor}), (
                f"{name}: {tag['href']}"
            )
            followed += page is not None
    assert followed > 100


def test_the_search_index_is_a_script(html, soups):
    """A browser refuses to fetch a file:// address, but it runs a script from one."""
    assert "Search.setIndex(" in (html / "searchindex.js").read_text(encoding="utf-8")
    scripts = [script.get("src", "") for script in soups["search.html"].find_all("script")]
    assert any(script.startswith("searchindex.js") for script in scripts)


def test_launch_buttons_name_the_repository(soups):
    config = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    place = config["url"].removeprefix("https://github.com/")
    for name in NOTEBOOKS:
        links = [link["href"] for link in soups[f"notebooks/{name}.html"].select(".dropdown-launch-buttons a")]
        assert sorted(links) == [
            f"http://localhost:8888/lab/tree/notebooks/{name}.ipynb",
            f"https://colab.research.google.com/github/{place}/blob/{config['branch']}/notebooks/{name}.ipynb",
            f"https://mybinder.org/v2/gh/{place}/{config['branch']}?urlpath=lab/tree/notebooks/{name}.ipynb",
        ]


def test_no_page_shows_a_machine_path_or_an_unfilled_number(soups):
    for name, soup in soups.items():
        text = soup.get_text(" ")
        assert "{{" not in text, name
        assert not re.search(rf"(?<![\w.])({re.escape(str(ROOT))}|/home|/root|/tmp)/\w", text), name


def test_no_result_is_typed_into_a_page():
    for page in (ROOT / "book").glob("*.md"):
        typed = re.findall(r"\b\d+(?:\.\d+)? ?%|\b0\.9\d+", page.read_text(encoding="utf-8"))
        assert typed == [], f"{page.name}: {typed}. Put it in book/results and show it as {{{{ name }}}}."


def test_stored_results_have_every_number_that_the_pages_show():
    stored = [json.loads(path.read_text())["prose"] for path in (ROOT / "book/results").glob("*.json")]
    left = used_substitutions() - set().union(*stored) - set(book.minutes(ROOT / "notebooks"))
    left -= set(card.prose(lanes.stored("small"), lanes.stored("export")))
    assert left == {"over_seed_alt"}, "which is made with its figure"


def test_a_page_shows_the_minutes_that_a_notebook_states(tmp_path):
    for name, opening in (
        ("01_a", "# A\n\n**You need** 9 minutes.\n**Time** 30 minutes to read and run, 20 more for the exercises."),
        ("02_b", "# B\n\n**Time** 5 minutes, a few of them spent training; 7 more for the exercises."),
    ):
        nbformat.write(
            nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(opening)]), tmp_path / f"{name}.ipynb"
        )
    assert book.minutes(tmp_path) == {
        "minutes_01_a": "30",
        "exercises_01_a": "20",
        "minutes_02_b": "5",
        "exercises_02_b": "7",
    }
    bare = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# C\n\n**Time** soon.")])
    nbformat.write(bare, tmp_path / "03_c.ipynb")
    with pytest.raises(CourseError, match=r"03_c\.ipynb: its first cell does not say"):
        book.minutes(tmp_path)
    found = book._results(ROOT, {"minutes_01_data": "1000"}, None)["prose"]
    stated = nbformat.read(ROOT / "notebooks/01_data.ipynb", as_version=4).cells[0].source
    assert f"**Time** {found['minutes_01_data']} minutes" in stated


def test_reading_minutes_count_what_is_seen(tmp_path):
    new = nbformat.v4
    prose = "word " * 300  # two minutes
    code = "\n".join(f"x = {i}" for i in range(50))  # six minutes
    shown = [output(image_png="x", text_plain="a figure"), output(text_html="<audio></audio>" * 4)]
    cells = {
        "prose": new.new_markdown_cell(prose),
        "code": new.new_code_cell(code),
        "outputs": new.new_code_cell("", outputs=shown),
        "folded with its output": new.new_code_cell(code, outputs=shown, metadata={"tags": ["hide-cell"]}),
        "its code is folded": new.new_code_cell(code, outputs=shown, metadata={"tags": ["hide-input"]}),
    }
    minutes = {"prose": 2, "code": 6, "outputs": 2 / 3, "folded with its output": 0, "its code is folded": 2 / 3}
    practice = [
        new.new_markdown_cell("## Exercise 1"),
        new.new_code_cell(code),
        new.new_markdown_cell("## Check yourself " + prose),
    ]
    for name, cell in cells.items():
        nbformat.write(new.new_notebook(cells=[cell, *practice]), tmp_path / "a.ipynb")
        found = book.reading_minutes(tmp_path / "a.ipynb", seconds=90)
        assert found["read"] == pytest.approx(1.5 + minutes[name]), name
        assert found["questions"] == pytest.approx(2 + 2 / 150)
    (tmp_path / "a.md").write_text(
        f"{prose}\n```bash\nmake run \\\n  VENV=env\nmake test\n```\n```{{figure}} a.png\n:alt: {prose}\n\n{prose}\n```\n"
    )
    assert book.reading_minutes(tmp_path / "a.md")["read"] == pytest.approx(4 + (2 * 7.2 + 20) / 60, abs=0.02)


@pytest.mark.parametrize("path", [f"{page}.md" for page in book.pages(ROOT) if page.startswith("book/")])
def test_a_page_takes_at_most_25_minutes(path):
    assert book.reading_minutes(ROOT / path)["read"] <= 25


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_states_the_minutes_that_it_takes_and_those_are_at_most_25(name):
    """Without exercises and questions. Its run time is the one measured last: `make outputs`."""
    path = ROOT / f"notebooks/{name}.ipynb"
    found = book.reading_minutes(path, float(lanes.stored("fast")["prose"][f"seconds_{name}"]))
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
    page = (ROOT / "book/_static/say/say.js").read_text(encoding="utf-8")
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


def test_a_full_run_shows_its_own_curves_over_the_original(tmp_path):
    own = json.loads((ROOT / "book/results/full.json").read_text())
    own["curves"]["validation_loss"][-1] = 0.12345
    own["prose"] |= {"full_corpus": "My own corpus"}
    stored = book._results(ROOT, None, None)
    found = book._results(ROOT, results(), own)
    assert (
        "0.12345 here" in found["prose"]["over_seed_alt"]
        and "0.00059 in the original" in found["prose"]["over_seed_alt"]
    )
    assert found["figures"]["over_seed"] != stored["figures"]["over_seed"]
    given = {name: text for name, text in results().items() if not name.startswith("full_")}
    index = book.build(write_stand_ins(tmp_path / "notebooks"), tmp_path / "made", given, own)
    page = BeautifulSoup((index.parent / "book/results.html").read_text(encoding="utf-8"), "html.parser")
    assert page.find("img", alt=found["prose"]["over_seed_alt"]) and "My own corpus" in page.get_text()


def test_results_that_are_not_there_name_the_command_that_makes_them(tmp_path):
    (tmp_path / "book/results").mkdir(parents=True)
    order = {
        "fast": "outputs",
        "full": "full",
        "bench": "bench",
        "synthetic": "synthetic",
        "fsdd": "real",
        "seat": "seat",
    }
    for name, command in order.items():
        with pytest.raises(CourseError, match=rf"{name}\.json: missing.*`make {command}`"):
            book._results(tmp_path, None, None)
        for made in (name, "seed", "published"):
            (tmp_path / f"book/results/{made}.json").write_text('{"prose": {}, "curves": {}}')


def test_a_failed_build_says_all_that_is_wrong_and_leaves_the_old_book(tmp_path):
    bare = stand_in("bare", alt_texts=("<Figure size 640x480 with 1 Axes>", "short\n\nFigure 1."))
    lost = stand_in("lost")
    lost.cells[0].source += "\n\nSee [nowhere](nowhere.md) and {cite:p}`nobody2020`."
    notebooks = write_stand_ins(tmp_path / "notebooks", **{NOTEBOOKS[0]: bare, NOTEBOOKS[1]: lost})
    given = results()
    del given["accuracy_speaker"]
    old = tmp_path / "made/html/index.html"
    old.parent.mkdir(parents=True)
    old.write_text("the old book")
    with pytest.raises(CourseError) as caught:
        book.build(notebooks, tmp_path / "made", given)
    said = str(caught.value)
    assert len(re.findall(rf"notebooks/{NOTEBOOKS[0]}\.ipynb.*no description", said)) == 2
    assert re.search(rf"notebooks/{NOTEBOOKS[0]}\.ipynb.*no sentence below it, only 'Figure 1\.'", said)
    assert re.search(rf"notebooks/{NOTEBOOKS[1]}\.ipynb.*nowhere", said) and "nobody2020" in said
    assert re.search(r"book/index\.md.*accuracy_speaker", said)
    assert not re.search(r"/tmp|spokendigits-book-", said)
    assert old.read_text() == "the old book"
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["html"]


def test_a_missing_notebook_is_named(tmp_path):
    notebooks = write_stand_ins(tmp_path / "notebooks")
    (notebooks / f"{NOTEBOOKS[2]}.ipynb").unlink()
    with pytest.raises(CourseError, match=rf"{NOTEBOOKS[2]}\.ipynb: missing"):
        book.build(notebooks, tmp_path / "made", results())

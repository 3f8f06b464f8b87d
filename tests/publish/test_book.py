"""The book, built once from the stored notebooks and some more cells, as a reader without a network gets it."""

import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell
from small_course import ALT_TEXTS, contents, figure_output, notebook

from spokendigits import __version__, lanes
from spokendigits.errors import CourseError
from spokendigits.publish import book, card, extension, words

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = [page.removeprefix("notebooks/") for page in book.pages(ROOT) if page.startswith("notebooks/")]
LOADING = ("src", "srcset", "data", "poster", "action", "background", "manifest")  # attributes that name what is loaded
IN_STYLE = re.compile(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//")


def elsewhere(address: str) -> bool:
    return bool(re.match(r"(?:[a-z]+:)?//", address.strip(), re.IGNORECASE))


def test_every_page_is_there_and_the_first_leads_to_the_front_page(soups):
    assert [page for page in book.pages(ROOT) if f"{page}.html" not in soups] == []
    refresh = soups["index.html"].find("meta", attrs={"http-equiv": "Refresh"})
    assert refresh is not None and refresh["content"].endswith("book/index.html")


def test_every_picture_is_described_and_has_a_sentence_below_it_that_says_something_else(soups):
    """A clip's card is no figure of this kind: its caption names who says what, as a player's label does."""
    described = captioned = 0
    for name, soup in soups.items():
        for image in soup.select("article img"):
            assert len(image.get("alt", "")) > extension.SHORTEST_ALT_TEXT, f"{name}: {image.get('src')}"
            assert not image["alt"].startswith("<"), f"{name}: {image['alt']}"
            described += 1
            if image.find_parent(class_="players") or "front-picture" in image.get("class", []):
                continue
            box = image.find_parent("figure")
            assert box is not None and box.figcaption is not None, f"{name}: no caption below {image['alt']}"
            caption = " ".join(box.figcaption.select_one(".caption-text").get_text().split())
            assert extension.SENTENCE.fullmatch(caption), f"{name}: only a label: {caption!r}"
            assert caption not in image["alt"] and image["alt"] not in caption, f"{name}: said twice: {caption!r}"
            captioned += 1
    assert min(described, captioned) > len(NOTEBOOKS)
    both = soups[f"notebooks/{NOTEBOOKS[0]}.html"].select(".cell_output img")[-len(ALT_TEXTS) :]
    assert [image["alt"] for image in both] == list(ALT_TEXTS), "figures of one cell keep their own alt texts"


def test_a_notebooks_page_folds_solutions_fills_in_numbers_and_links_terms(soups):
    page = soups[f"notebooks/{NOTEBOOKS[0]}.html"]
    assert "Show the solution" in [tag.get_text().strip() for tag in page.select("details summary .collapsed")]
    (more,) = page.select("section#all-sorts")
    assert f"The corpus is {lanes.stored('fast')['prose']['corpus']}." in more.get_text()
    assert more.select("a[href*='glossary.html#term-hop']") and more.select("a[href*='references.html#']")


def test_a_progress_bar_shows_only_its_last_state(soups):
    """In a terminal a bar draws over itself. Its stored states must not become a column of bars."""
    for name, soup in soups.items():
        for box in soup.select(".cell_output"):
            labels = re.findall(r"^(.*?): +\d+%\|", box.get_text(), re.MULTILINE)
            assert len(labels) == len(set(labels)), f"{name}: {len(labels)} states of {sorted(set(labels))}"


def test_no_page_loads_anything_from_another_host(html, soups):
    for name, soup in soups.items():
        for tag in soup.find_all(True):
            addresses = [tag[attribute] for attribute in LOADING if tag.get(attribute)]
            if tag.name in ("link", "use", "image", "base") and tag.get("rel") != ["canonical"]:
                addresses.append(tag.get("href", ""))
            if tag.get("style"):
                addresses += re.findall(r"url\(['\"]?([^'\")]+)", tag["style"])
            assert not [address for address in addresses if elsewhere(address)], f"{name}: {tag.name} {addresses}"
        assert not soup.find_all("iframe"), name
        scripts = soup.find_all("script")
        sources = " ".join(script.get("src", "") for script in scripts).lower()
        for unwanted in ("mathjax", "require", "widget", "analytics", "thebe"):
            assert unwanted not in sources, f"{name} loads {unwanted}"
        assert ("say/say.js" in sources) == (name == "book/say_a_digit.html")
        inline = " ".join(script.get_text() for script in scripts if not script.get("src"))
        assert not re.search(r"https?://", inline), f"{name}: a script names another host"
        assert not any(IN_STYLE.search(style.get_text()) for style in soup.find_all("style")), name
    for sheet in html.rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", sheet.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not IN_STYLE.search(text), sheet.name


def test_links_and_anchors_inside_the_book_lead_somewhere(html, soups):
    """Sphinx checks those that the pages' authors wrote. This one sees all: the theme's, those in HTML, those in outputs."""
    followed = 0
    for name, soup in soups.items():
        for tag in soup.select("a[href], link[href], script[src], img[src]"):
            address, _, anchor = unquote(tag.get("href") or tag.get("src")).partition("#")
            if elsewhere(address) or address.startswith(("data:", "mailto:", "javascript:")):
                continue
            target = (html / name).parent / address.split("?")[0] if address else html / name
            assert target.exists(), f"{name}: {address}"
            page = soups.get(target.resolve().relative_to(html.resolve()).as_posix()) if anchor else None
            if page is not None:
                places = {"id": anchor}, {"name": anchor}
                assert any(page.find(attrs=place) for place in places), f"{name}: {address}#{anchor}"
                followed += 1
    assert followed > 100


def test_launch_buttons_open_the_release_that_the_notebooks_install(soups):
    config = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    place = config["url"].removeprefix("https://github.com/")
    for name in NOTEBOOKS:
        links = [link["href"] for link in soups[f"notebooks/{name}.html"].select(".dropdown-launch-buttons a")]
        assert sorted(links) == [
            f"http://localhost:8888/lab/tree/notebooks/{name}.ipynb",
            f"https://colab.research.google.com/github/{place}/blob/v{__version__}/notebooks/{name}.ipynb",
            f"https://mybinder.org/v2/gh/{place}/v{__version__}?urlpath=lab/tree/notebooks/{name}.ipynb",
        ]


def test_no_page_shows_a_machine_path_or_an_unfilled_number(soups):
    for name, soup in soups.items():
        text = soup.get_text(" ")
        assert "{{" not in text and "{%" not in text, name
        assert not re.search(rf"(?<![\w.])({re.escape(str(ROOT))}|/home|/root|/tmp)/\w", text), name


def test_pages_show_a_runs_own_results_in_place_of_the_stored_ones(soups, html, own_full_run):
    assert "A computer of the tests" in soups["book/run_times.html"].get_text()
    page = soups["book/results.html"]
    (chart,) = page.select("img[src*=over_seed]")
    assert "0.12345 here" in chart["alt"] and "0.00059 in the original" in chart["alt"]
    assert own_full_run["prose"]["full_corpus"] in page.get_text()
    stored = book.draw_over_seed(lanes.stored("full")["curves"], lanes.stored("seed")["curves"], "My own corpus")
    drawn = book.draw_over_seed(own_full_run["curves"], lanes.stored("seed")["curves"], "My own corpus")
    (picture,) = html.rglob("over_seed.png")
    assert picture.read_bytes() == drawn._repr_mimebundle_()["image/png"] != stored._repr_mimebundle_()["image/png"]
    # How long a notebook takes is its own word, whatever a run says.
    stated = book.minutes(ROOT / "notebooks")["minutes_01_data"]
    assert f"{stated} minutes, and" in soups["book/index.html"].get_text() and stated != "1000"


def test_the_page_of_the_model_card_is_the_card(soups):
    """Its tables as tables, and the words of the plain card, which the tests of the card look at."""
    page = soups["book/model_card.html"]
    plain = card.plain(card.render(card.of_course(*map(words.stored, ("small", "export", "strangers")))))
    assert len(page.select("article table")) == len(re.findall(r"^\| ?-", plain, re.MULTILINE))
    shown = "".join(page.find("article").get_text().split()).replace("’", "'")
    for row in re.findall(r"^\| (?!-)(.+) \|$", plain, re.MULTILINE):
        assert re.sub(r"[\s|`]", "", row) in shown, row
    assert "Mitchelletal." in shown and "|---" not in shown


def test_what_is_wrong_is_said_at_once_and_the_old_book_stays(tmp_path, monkeypatch):
    """In a small checkout: a figure with no description, one with a label below it, a lost link, paper and number."""
    source = tmp_path / "checkout"
    for folder in ("book/figures", "book/_static/say"):
        (source / folder).mkdir(parents=True)
    for name in ("_config.yml", "book/references.bib", "book/_static/logo.svg", "book/_static/favicon.svg"):
        shutil.copy(ROOT / name, source / name)
    (source / "book" / "index.md").write_text("# All\n\n{{ accuracy_speaker }} and {{ accuracy_nobody }}\n")
    contents(source, "01_bare", "02_lost")
    opening = new_markdown_cell("# A notebook\n\n**Time** 5 minutes, 7 more for the exercises.")
    figures = [figure_output(text) for text in ("<Figure size 640x480 with 1 Axes>", "short\n\nFigure 1.")]
    notebook(source / "notebooks", "01_bare", [opening, new_code_cell("two figures", outputs=figures)])
    lost = new_markdown_cell("See [nowhere](nowhere.md) and {cite:p}`nobody2020`.")
    notebook(source / "notebooks", "02_lost", [opening, lost])
    monkeypatch.setattr(book, "checkout", lambda: source)
    monkeypatch.delenv("SPOKENDIGITS_DATA", raising=False)
    old = tmp_path / "made/html/index.html"
    old.parent.mkdir(parents=True)
    old.write_text("the old book")
    with pytest.raises(CourseError) as caught:
        book.build(source / "notebooks", tmp_path / "made")
    said = str(caught.value)
    assert len(re.findall(r"notebooks/01_bare\.ipynb.*no description", said)) == 2
    assert re.search(r"notebooks/01_bare\.ipynb.*no sentence below it, only 'Figure 1\.'", said)
    assert re.search(r"notebooks/02_lost\.ipynb.*nowhere", said) and "nobody2020" in said
    assert re.search(r"book/index\.md.*accuracy_nobody", said) and "accuracy_speaker" not in said
    assert not re.search(r"/tmp|spokendigits-book-", said)
    (source / "notebooks" / "02_lost.ipynb").unlink()
    with pytest.raises(CourseError, match=r"02_lost\.ipynb: missing, and _toc\.yml lists it"):
        book.build(source / "notebooks", tmp_path / "made")
    assert old.read_text() == "the old book" and [path.name for path in (tmp_path / "made").iterdir()] == ["html"]
    shutil.rmtree(source / "book")
    with pytest.raises(CourseError, match=r"no _config\.yml and book/ here"):
        book.build(source / "notebooks", tmp_path / "made")


def test_results_that_are_not_there_name_the_command_that_makes_them(tmp_path, monkeypatch):
    monkeypatch.setattr(words, "shipped", lambda name: tmp_path / name)
    (tmp_path / "results").mkdir()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in words.NEEDED:
        command = {"fast": "outputs", "fsdd": "real", "export": "small"}.get(name, name)
        with pytest.raises(CourseError, match=rf"^.*{name}\.json: missing.*`make {command}`\.$"):
            words.prose()
        assert command in targets
        (tmp_path / f"results/{name}.json").write_text(json.dumps({"prose": {f"{name}_device": "A computer"}}))
    assert words.prose()["seat_device"] == "A computer"

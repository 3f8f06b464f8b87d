"""One build of the whole book, and one browser, for all tests of pages."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from browsing import WIDE
from bs4 import BeautifulSoup
from small_course import more_cells

from spokendigits import lanes
from spokendigits.publish import book, npm

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def own_full_run() -> dict:
    """What a run of the full lane found, other than the stored one."""
    own = lanes.stored("full")
    own["curves"]["validation_loss"][-1] = 0.12345
    own["prose"]["full_corpus"] = "My own corpus"
    return own


@pytest.fixture(scope="session")
def html(tmp_path_factory, own_full_run) -> Path:
    """The folder of the built book: the stored notebooks, with more cells in the first; a run's own results."""
    folder = tmp_path_factory.mktemp("book")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns(".*"))
    first = folder / "notebooks" / "01_data.ipynb"
    notebook = nbformat.read(first, as_version=4)
    notebook.cells += more_cells()
    # As a library's widget leaves it behind: its scripts would come from another host.
    state = {"state": {"a": {"model_name": "FloatProgressModel"}}}
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": state}
    nbformat.write(notebook, first)
    results = lanes.stored("fast")["prose"] | {"minutes_01_data": "1000", "device": "A computer of the tests"}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SPOKENDIGITS_HOME", raising=False)  # where the page's runtime was put
        return book.build(folder / "notebooks", folder / "built", results, own_full_run).parent


@pytest.fixture(scope="session")
def soups(html) -> dict[str, BeautifulSoup]:
    """Every page of the built book, parsed, by its path."""
    paths = {path.relative_to(html): path.read_text(encoding="utf-8") for path in sorted(html.rglob("*.html"))}
    return {
        path.as_posix(): BeautifulSoup(text, "html.parser")
        for path, text in paths.items()
        if "_static" not in path.parts
    }


def fetched(package: npm.Package) -> Path:
    """The folder of a package that `python -m spokendigits.publish.npm` fetched before: where the course put it, not in a test's own home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SPOKENDIGITS_HOME", raising=False)
        return package.find() or pytest.skip(
            f"no {package.name} here: `python -m spokendigits.publish.npm` fetches it, and then what needs it is tested"
        )


@pytest.fixture(scope="session")
def runtime() -> Path:
    """The folder of ONNX Runtime Web."""
    return fetched(npm.RUNTIME)


@pytest.fixture(scope="session")
def drawing() -> Path:
    """The folder of Observable Plot, which draws the figures that move."""
    return fetched(npm.PLOT)


@pytest.fixture
def opened(chromium, html):
    """Opens a page of the book: `opened("book/index", NARROW, "dark")`, or that of the same name in another folder.

    Anything that it asks another host for fails the test, and so does an error in its scripts, unless `opened.errors` is
    emptied. `opened.asked` are the addresses of all that it asks for. More options are those of a browser's context.
    """
    contexts, asked, errors = [], [], []

    def open_page(name: str, size: dict = WIDE, scheme: str = "light", folder=html, browser=chromium, **options):
        address = folder if isinstance(folder, str) else folder.as_uri()
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(180_000)  # milliseconds: trainings may run beside the tests
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: "Content Security" in said.text and errors.append(said.text))
        page.goto(f"{address}/{name}.html")
        page.evaluate(f"document.documentElement.dataset.theme = '{scheme}'")
        return page

    open_page.asked, open_page.errors = asked, errors
    yield open_page
    for context in contexts:
        context.close()
    assert [url for url in asked if not re.match(r"file:|data:|blob:|http://127\.0\.0\.1:", url)] == []
    assert errors == []


@pytest.fixture(scope="session")
def places(soups) -> dict[str, str]:
    """Where each figure that moves stands: {name: page}."""
    return {
        figure["data-moving"]: page.removesuffix(".html")
        for page, soup in soups.items()
        for figure in soup.select(".moving")
    }


@pytest.fixture
def moved(opened, places, drawing, runtime):
    """Opens the page of a figure that moves, and waits until it is there: `moved("sample", NARROW, "dark")`."""

    def open_figure(name: str, *how, **options):
        page = opened(places[name], *how, **options)
        page.wait_for_selector(f".moving[data-moving={name}][data-ready]", state="attached")
        return page

    return open_figure

"""A notebook in JupyterLab, in a real browser: opened by the path of its page's button, and run from the menu."""

import contextlib
import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import psutil
import pytest
from browsing import LENGTHS, PROGRAMS, QUIET, WIDE

from spokendigits.corpora import espeak, synthetic

pytestmark = pytest.mark.slow
playwright = pytest.importorskip("playwright.sync_api")

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "notebooks" / "01_data.ipynb"
PATIENCE = 240_000  # milliseconds for all cells; they take a tenth of it on a free computer

# One entry a cell, in the notebook's order: whether its code and its outputs can be seen.
SEEN = """() => [...document.querySelectorAll(".jp-Notebook .jp-Cell")].map(cell => ({
    code: [...cell.querySelectorAll(".jp-InputArea-editor")].some(part => part.getClientRects().length > 0),
    output: [...cell.querySelectorAll(".jp-OutputArea-output")].some(part => part.getClientRects().length > 0),
}))"""
# The number beside each cell of code whose code can be seen: "[7]:", "[*]:" while it waits or runs, "[ ]:" if it never ran.
PROMPTS = """() => [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")].map(prompt => prompt.textContent)"""
WAITING = f"({PROMPTS})().includes('[*]:')"
# Of the cell that ran last: after an error no cell is run any more.
LAST = """() => [...document.querySelectorAll(".jp-CodeCell")]
    .filter(cell => cell.querySelector(".jp-InputPrompt")?.textContent.match(/\\d/)).at(-1)?.textContent"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with notebook 1, which has not been run and reads six voices that say each digit once: seconds, not minutes."""
    home = tmp_path_factory.mktemp("lab")
    jobs = [one.job(home / "six" / one.name, synthetic.utterances(one, 1, 0)) for one in synthetic.SPEAKERS[:6]]
    assert len(list(espeak.speak_all(jobs, 2))) == 6
    notebook = nbformat.read(SOURCE, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            # A solution has shown something before: that has to be out of sight.
            shown = (
                [nbformat.v4.new_output("stream", text="the answer")]
                if "solution" in cell.metadata.get("tags", [])
                else []
            )
            cell.outputs, cell.execution_count = shown, None
        if "parameters" in cell.metadata.get("tags", []):
            assert 'corpus = "synthetic"' in cell.source
            cell.source = cell.source.replace('corpus = "synthetic"', f"corpus = {str(home / 'six')!r}")
    (home / "notebooks").mkdir()
    nbformat.write(notebook, home / "notebooks" / SOURCE.name)
    (home / "book").mkdir()
    shutil.copy(ROOT / "book" / "glossary.md", home / "book")
    (home / "config").mkdir()
    (home / "config" / "jupyter_lab_config.py").write_text(
        "c.LabApp.news_url = None\nc.LabApp.check_for_updates_class = 'jupyterlab.NeverCheckForUpdate'\n"
    )
    return home


@pytest.fixture(scope="module")
def lab(home):
    """JupyterLab on that folder, by the line of `make lab` but at a free port: its address, with the token in it last."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    own = {name: str(home / name.lower()) for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
    environment = {"SPOKENDIGITS_HOME": str(home), "JUPYTER_CONFIG_DIR": str(home / "config"), "JUPYTER_TOKEN": token}
    (line,) = re.findall(r"^lab:.*\n\t\$\(BIN\)/(.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    program, *options = shlex.split(line)
    command = [str(Path(sys.executable).with_name(program)), *options, "--no-browser"]
    command += ["--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=home, env={**os.environ, **own, **environment}, stdout=log, stderr=log)
    family = []
    try:
        for _ in range(600):
            with contextlib.suppress(urllib.error.URLError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={token}", timeout=5).close()
                break
            assert server.poll() is None, (home / "log").read_text()[-2000:]
            time.sleep(0.2)
        else:
            pytest.fail(f"JupyterLab did not answer: {(home / 'log').read_text()[-2000:]}")
        yield f"http://127.0.0.1:{port}", token
        family = psutil.Process(server.pid).children(recursive=True)
    finally:
        server.terminate()  # its kernels end with it
        try:
            server.wait(30)
        finally:
            server.kill()
            _, left = psutil.wait_procs(family, 10)
            for one in left:
                one.kill()
    assert not left, f"still running: {left}"


@pytest.fixture(scope="module")
def page(lab):
    """The notebook, open in JupyterLab."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium here: with one installed, a notebook is run in JupyterLab")
    address, token = lab
    asked = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=QUIET)
        page = browser.new_page(viewport=WIDE)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}/lab/tree/notebooks/{SOURCE.name}?token={token}")
        # JupyterLab puts the cells into the page bit by bit, and its menu runs those that are there.
        whole = f"document.querySelectorAll('.jp-Notebook .jp-Cell').length == {len(nbformat.read(SOURCE, 4).cells)}"
        page.wait_for_function(whole, timeout=PATIENCE)
        page.wait_for_selector(".jp-NotebookPanel .jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=PATIENCE)
        yield page
        browser.close()
    elsewhere = [url for url in asked if not url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))]
    assert elsewhere == [], "JupyterLab works without a network, so its page asks nobody else"


def test_notebook_1_runs_from_the_menu_and_plays_and_hides_what_it_should(page):
    cells = nbformat.read(SOURCE, 4).cells
    solutions = [
        i for i, cell in enumerate(cells) if cell.cell_type == "code" and "solution" in cell.metadata.get("tags", [])
    ]
    before = page.evaluate(SEEN)
    assert len(solutions) >= 5 and not [i for i in solutions if before[i]["code"] or before[i]["output"]]

    page.click('.lm-MenuBar-item:has-text("Run")')
    page.click('.lm-Menu-item:has-text("Run All Cells") >> nth=0')
    page.wait_for_function(WAITING, timeout=PATIENCE)
    page.wait_for_function(f"!{WAITING}", timeout=PATIENCE)
    page.wait_for_selector(".jp-NotebookPanel .jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=PATIENCE)
    # The last cell says what made the numbers.
    assert "versions:" in page.evaluate(LAST), page.evaluate(LAST)
    assert "[ ]:" not in page.evaluate(PROMPTS)
    assert page.query_selector_all('[data-mime-type="application/vnd.jupyter.error"]') == []

    seen = page.evaluate(SEEN)
    assert len(seen) == len(cells)
    assert not [i for i in solutions if seen[i]["code"] or seen[i]["output"]], "answers before the learner tried"
    for i, (cell, one) in enumerate(zip(cells, seen, strict=True)):
        if cell.cell_type == "code" and i not in solutions:
            hidden = cell.metadata.get("jupyter", {})
            assert one["code"] != hidden.get("source_hidden", False), cell.source
            assert one["output"] or not cell.outputs or hidden, f"shows nothing: {cell.source}"

    lengths = page.evaluate(LENGTHS)
    assert len(lengths) >= 16 and all(0.1 < length < 3 for length in lengths), lengths

    # A solution opens with a click below its heading.
    last = solutions[-1]
    page.locator(f".jp-Cell >> nth={last - 1} >> .jp-showHiddenCellsButton").click()
    opened = page.evaluate(SEEN)
    assert opened[last]["code"] and opened[last]["output"] and not opened[solutions[0]]["code"]


def test_a_link_leads_from_a_notebook_to_a_term_of_the_glossary(page):
    page.click('.jp-RenderedMarkdown a[href*="glossary.md"][href*="corpus"] >> nth=0')
    page.wait_for_function(
        """() => {
            const term = document.querySelector(".jp-MarkdownViewer [data-jupyter-id=corpus]")?.getBoundingClientRect();
            return term && term.height > 0 && term.top >= 0 && term.bottom <= innerHeight;
        }""",
        timeout=PATIENCE,
    )

"""The notebooks as documents: what every one of them must have. `make test` also runs them, with nbval."""

import ast
import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import small_course
from IPython.core.inputtransformer2 import TransformerManager

from spokendigits.publish.runner import DEFAULTS

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
NOTEBOOKS = {path.stem: nbformat.read(path, as_version=4) for path in PATHS}


def is_expected(node: ast.AST) -> bool:
    """Whether this is a call of `checks.expect`, which holds on the course's own corpora as an assert does."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "expect"


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_seven_are_there():
    names = ["01_data", "02_features", "03_training", "04_evaluation", "05_error_analysis", "06_real_voices"]
    assert list(NOTEBOOKS) == [*names, "07_small_and_fast"]


def bootstrap(monkeypatch, colab: bool, installed: bool, fails: str = "") -> list[str]:
    """Runs the bootstrap cell as Jupyter would, in a pretended environment, where a package cannot be installed."""
    calls = []

    class Shell:
        def run_line_magic(self, magic, line):
            calls.append(line)

    (cell,) = tagged(NOTEBOOKS["01_data"], "bootstrap")
    code = TransformerManager().transform_cell(cell.source)
    there = lambda name: object() if installed or (calls and name != fails) else None  # noqa: E731
    monkeypatch.setattr("importlib.util.find_spec", there)
    if colab:
        monkeypatch.setitem(sys.modules, "google.colab", object())
    exec(code, {"get_ipython": Shell})
    return calls


def test_the_bootstrap_installs_on_colab_only_and_never_torch(monkeypatch):
    assert bootstrap(monkeypatch, colab=False, installed=False) == []
    assert bootstrap(monkeypatch, colab=True, installed=True) == []
    frozen, own, lacking = bootstrap(monkeypatch, colab=True, installed=False)
    assert frozen == "list --format=freeze > colab.txt" and "-c colab.txt" in lacking, "what Colab has may not change"
    assert "--no-deps" in own and "@v" in tagged(NOTEBOOKS["01_data"], "bootstrap")[0].source, (
        "a pinned release, and nothing in its wake"
    )
    assert not {"torch", "torchaudio", "torchvision"} & set(lacking.split()), "Colab's torch must not be touched"
    assert "espeakng-loader" in lacking
    for name in ("spokendigits", "espeakng_loader"):
        with pytest.raises(SystemExit, match=f"^{name} was not installed"):
            bootstrap(monkeypatch, colab=True, installed=False, fails=name)


@pytest.mark.parametrize("name", NOTEBOOKS)
class TestEach:
    def test_opens_with_objectives_prerequisites_and_minutes(self, name):
        opening = NOTEBOOKS[name].cells[0].source
        assert re.match(rf"# {int(name[:2])} · ", opening)
        assert (
            "**You will**" in opening and "**You need**" in opening and re.search(r"\*\*Time\*\* \d+ minutes", opening)
        )

    def test_ends_with_a_summary_the_next_step_and_what_made_the_numbers(self, name):
        cells = NOTEBOOKS[name].cells
        assert "## What you have now" in cells[-2].source and "**Next:**" in cells[-2].source
        assert cells[-1].source.startswith("lanes.made_by(")

    def test_parameters_are_the_runners(self, name):
        (cell,) = tagged(NOTEBOOKS[name], "parameters")
        values = {}
        exec(cell.source, values)
        assert {key: values[key] for key in DEFAULTS} == DEFAULTS

    def test_the_bootstrap_is_the_same_everywhere(self, name):
        (cell,) = tagged(NOTEBOOKS[name], "bootstrap")
        assert cell.source == tagged(NOTEBOOKS["01_data"], "bootstrap")[0].source

    def test_at_least_four_exercises_each_with_a_check_and_a_hidden_tested_solution(self, name):
        cells, checks = NOTEBOOKS[name].cells, importlib.import_module(f"spokendigits.checks.{name[3:]}")
        exercises = [i for i, cell in enumerate(cells) if cell.source.startswith("## Exercise")]
        titles = [cells[i].source.splitlines()[0] for i in exercises]
        form = r"## Exercise {} · .+ \((core|more), (\d+) minutes\)"
        marked = [re.fullmatch(form.format(n), title).groups() for n, title in enumerate(titles, 1)]
        minutes = [int(long) for _, long in marked]
        assert len(minutes) >= 4 and minutes == sorted(minutes) and min(minutes) >= 2 and max(minutes) <= 30
        core = [int(long) for kind, long in marked if kind == "core"]
        assert len(core) == 2 and f"{sum(core)} more for the exercises." in cells[0].source
        assert f"the others take another {sum(minutes) - sum(core)}." in cells[0].source
        assert [cells[i + 1] for i in exercises] == tagged(NOTEBOOKS[name], "exercise")
        assert [cells[i + n] for i in exercises for n in (2, 3)] == tagged(NOTEBOOKS[name], "solution")
        for i in exercises:
            answer, heading, solution = cells[i + 1 : i + 4]
            # `# your answer`, the variables, and the check of them, whose value the page does not show. nbval shows it: it
            # runs cells without a history, and there IPython does not see the semicolon.
            assert "nbval-ignore-output" in answer.metadata["tags"]
            assert answer.source.startswith("# your answer\n") and answer.source.endswith(");")
            *asked, check = ast.parse(answer.source.removesuffix(";")).body
            names = [one.targets[0].id for one in asked]
            assert names and all(isinstance(one, ast.Assign) and one.value.value is None for one in asked)
            assert inspect.isfunction(getattr(checks, check.value.func.attr)) and check.value.func.value.id == "checks"
            assert [one.id for one in check.value.args[: len(names)]] == names
            # JupyterLab unfolds the output of a cell that runs, but nothing below a heading that is folded.
            assert heading.source == "### A solution. Try it yourself first."
            assert heading.metadata["jp-MarkdownHeadingCollapsed"] and "remove-cell" in heading.metadata["tags"]
            assert "hide-cell" in solution.metadata["tags"]
            tree = ast.parse(solution.source)
            held = [ast.unparse(one.test) for one in ast.walk(tree) if isinstance(one, ast.Assert)]
            held += [ast.unparse(one.args[0]) for one in ast.walk(tree) if is_expected(one)]
            assert ast.unparse(check.value) in held, "the solution is not checked as an answer is"
            given = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
            assert set(names) <= given

    def test_code_that_the_book_folds_is_folded_in_jupyterlab_too(self, name):
        for cell in code(NOTEBOOKS[name]):
            tags = set(cell.metadata.get("tags", []))
            folded = {"hide-cell", "hide-input", "remove-cell"} & tags and "solution" not in tags
            assert bool(folded) == cell.metadata.get("jupyter", {}).get("source_hidden", False), cell.source

    def test_no_cell_is_longer_than_a_screen(self, name):
        for cell in code(NOTEBOOKS[name]):
            assert len(cell.source.splitlines()) <= 30, cell.source

    def test_a_result_whose_output_is_not_compared_is_held_by_an_assert(self, name):
        """An ignored output that shows a measured number needs an assert in it, or before the next ignored one but two."""
        cells = code(NOTEBOOKS[name])
        for i, cell in enumerate(cells):
            if "nbval-ignore-output" in cell.metadata.get("tags", []) and re.search(
                r"accuracy|recall|loss:", cell.source
            ):
                near = cells[i : i + 6]
                assert any("assert " in other.source or "expect(" in other.source for other in near), cell.source

    def test_stored_outputs_are_whole_in_order_small_and_synthetic(self, name):
        notebook = NOTEBOOKS[name]
        run = [cell for cell in code(notebook) if cell.source and "exercise" not in cell.metadata.get("tags", [])]
        assert [cell.execution_count for cell in code(notebook) if cell.execution_count] == list(
            range(1, len(code(notebook)) + 1)
        ), "run `make outputs`"
        assert sum(bool(cell.outputs) for cell in run) > len(run) / 2
        assert (FOLDER / f"{name}.ipynb").stat().st_size <= 1.5e6
        for cell in run:
            for output in cell.outputs:
                assert output.output_type != "error"
                page = output.get("data", {}).get("text/html", "")
                for label in re.findall(r"<audio[^>]*aria-label=\"([^\"]*)\"", page):
                    assert "synthetic" in label, label

    def test_figures_carry_alt_text(self, name):
        for cell in code(NOTEBOOKS[name]):
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    alt = output["data"]["text/plain"]
                    assert len(alt) > 40 and not alt.startswith("<Figure"), cell.source

    def test_nothing_of_this_computer_is_stored(self, name):
        text = json.dumps(NOTEBOOKS[name])
        assert not re.search(rf"(?<![\w.])({re.escape(str(FOLDER.parent))}|/home|/root|/Users|/tmp)/", text)
        assert "papermill" not in NOTEBOOKS[name].metadata


def test_the_table_of_the_audit_is_shown_whole():
    """Notes are sentences, and have no number of clips."""
    report = pd.DataFrame({"check": ["note"], "clips": pd.array([None], "Int64"), "advice": ["The age is odd. " * 9]})
    (wide,) = [one for cell in code(NOTEBOOKS["01_data"]) for one in re.findall(r"pd\.set_option.+", cell.source)]
    (last,) = [
        cell.source.splitlines()[-1] for cell in code(NOTEBOOKS["01_data"]) if "corpora.audit(rec" in cell.source
    ]
    with pd.option_context("display.max_colwidth", 50):
        exec(wide, {"pd": pd})
        page = eval(last, {"report": report})._repr_html_()
    assert "The age is odd. " * 8 in page and "NA" not in page


@pytest.mark.slow
def test_nbval_as_a_reader_types_it_has_a_home_of_its_own_and_this_python(tmp_path, monkeypatch):
    """Whatever was trained before, and whatever kernel an editor wrote down."""
    monkeypatch.setenv("SPOKENDIGITS_HOME", str(tmp_path / "mine"))
    shutil.copy(FOLDER / "conftest.py", tmp_path)
    source = (
        f"import os, sys\nassert sys.executable == {sys.executable!r} and 'mine' not in os.environ['SPOKENDIGITS_HOME']"
    )
    small_course.notebook(
        tmp_path, "a", [nbformat.v4.new_code_cell(source)], kernelspec={"name": "gone", "display_name": ""}
    )
    command = [sys.executable, "-m", "pytest", "--nbval", str(tmp_path), "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

"""The copies for students: no solution in them, everything else still there, and they run."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from spokendigits.app import cli
from spokendigits.errors import CourseError
from spokendigits.publish import runner, students

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("[0-9][0-9]_*.ipynb"))
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
SOLUTION = "answer = sum(range(100))  # the whole trick\nassert answer == 4950, 'count from 0'"
TELLING = 25  # characters: shorter lines, such as `)`, stand anywhere


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def left_over(original, copy) -> list[str]:
    """The lines of the original's solutions that can be read in the copy, and nowhere else in the original."""
    solutions = tagged(original, "solution")
    elsewhere = "\n".join(cell.source for cell in original.cells if cell not in solutions)
    readable = "\n".join(cell.source for cell in copy.cells)
    lines = {line.strip() for cell in solutions for line in cell.source.splitlines() if len(line) > TELLING}
    return sorted(line for line in lines if line in readable and line not in elsewhere)


def write(folder: Path, *tags: str) -> Path:
    """A notebook with one exercise; `tags` are its solution's."""
    cells = [
        new_markdown_cell("# A small notebook"),
        new_code_cell("x = 2", execution_count=1),
        new_code_cell("print(x + 1)", execution_count=2, outputs=[nbformat.v4.new_output("stream", text="3\n")]),
        new_markdown_cell("## Exercise 1 · A sum (2 minutes)\n\nAdd the numbers below 100."),
        new_code_cell("# your answer", metadata={"tags": ["exercise"]}),
        new_code_cell(SOLUTION, metadata={"tags": list(tags)}, execution_count=3),
        new_markdown_cell("## What you have now"),
        new_code_cell("assert x + 1 == 3"),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), folder / "01_small.ipynb")
    return folder


@pytest.fixture(scope="module")
def copies(tmp_path_factory) -> dict[str, nbformat.NotebookNode]:
    folder = students.write(tmp_path_factory.mktemp("made") / "students")
    return {path.name: nbformat.read(path, as_version=4) for path in folder.iterdir()}


def test_every_notebook_has_a_copy(copies):
    assert list(copies) and sorted(copies) == [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestEach:
    def test_no_solution_is_left(self, path, copies):
        original, copy = nbformat.read(path, as_version=4), copies[path.name]
        assert tagged(original, "solution") and tagged(copy, "solution") == []
        assert left_over(original, copy) == []

    def test_the_rest_is_as_it_was(self, path, copies):
        original, copy = nbformat.read(path, as_version=4), copies[path.name]
        kept = [cell for cell in original.cells if "solution" not in cell.metadata.get("tags", [])]
        assert [(cell.id, cell.source) for cell in copy.cells[1:]] == [(cell.id, cell.source) for cell in kept]
        exercises = [cell for cell in copy.cells if cell.source.startswith("## Exercise")]
        assert len(exercises) == len(tagged(copy, "exercise")) >= 2

    def test_it_is_valid_and_nothing_was_run(self, path, copies):
        copy = copies[path.name]
        nbformat.validate(copy)
        assert "Student copy" in copy.cells[0].source
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in copy.cells)


@pytest.mark.parametrize("planted", [
    new_markdown_cell("*Solution:* `answer = sum(range(100))  # the whole trick`"),
    new_code_cell("if True:\n    answer = sum(range(100))  # the whole trick"),
], ids=["markdown", "code"])  # fmt: skip
def test_the_search_for_left_overs_finds_some(planted):
    original = nbformat.read(NOTEBOOKS[0], as_version=4)
    original.cells.append(new_code_cell(SOLUTION, metadata={"tags": ["solution"]}))
    copy = nbformat.read(NOTEBOOKS[0], as_version=4)
    copy.cells = [cell for cell in copy.cells if "solution" not in cell.metadata.get("tags", [])]
    assert left_over(original, copy) == []
    copy.cells.append(planted)
    assert left_over(original, copy) == [SOLUTION.splitlines()[0]]


def test_a_copy_runs(tmp_path):
    folder = students.write(tmp_path / "students", write(tmp_path / "notebooks", "solution", "hide-cell"))
    copy = nbformat.read(folder / "01_small.ipynb", as_version=4)
    assert [cell.source for cell in copy.cells[4:6]] == [
        "## Exercise 1 · A sum (2 minutes)\n\nAdd the numbers below 100.",
        "# your answer",
    ]
    runner.execute(folder / "01_small.ipynb", tmp_path / "run.ipynb", {})
    run = nbformat.read(tmp_path / "run.ipynb", as_version=4)
    assert [cell.outputs[0].text for cell in run.cells if cell.get("outputs")] == ["3\n"]


@pytest.mark.parametrize("tags", [(), ("hide-cell",)])
def test_a_solution_without_its_tag_stops_all_copies(tags, tmp_path):
    """As it would be after a slip: its text would stand in the copy."""
    source = write(tmp_path / "notebooks", "solution")
    old = students.write(tmp_path / "students", source)
    before = (old / "01_small.ipynb").read_bytes()
    shutil.copy(source / "01_small.ipynb", source / "00_first.ipynb")
    write(source, *tags)
    with pytest.raises(CourseError, match=r"01_small\.ipynb: Exercise 1 · A sum .*no cell below it is tagged"):
        students.write(tmp_path / "students", source)
    assert [path.name for path in old.iterdir()] == ["01_small.ipynb"], "the old copies, and no new one"
    assert (old / "01_small.ipynb").read_bytes() == before


def test_two_copies_of_one_notebook_are_equal(tmp_path):
    one, other = (students.write(tmp_path / name) / NOTEBOOKS[0].name for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_the_command_says_where_they_are(tmp_path, monkeypatch, capsys):
    source = write(tmp_path / "notebooks", "solution")
    monkeypatch.setattr(runner, "notebooks_folder", lambda: source)
    assert cli.main(["students"]) == 0
    folder = tmp_path / "_build" / "students"
    assert str(folder) in capsys.readouterr().out and (folder / "01_small.ipynb").is_file()

"""The copies for students: no solution in them, everything else still there, and they run."""

import re
from pathlib import Path

import nbformat
import pytest
from small_course import contents, with_exercise

from spokendigits import lanes
from spokendigits.app import cli
from spokendigits.errors import CourseError
from spokendigits.publish import runner, students

NOTEBOOKS = runner.notebooks(Path(__file__).resolve().parents[2] / "notebooks")
TELLING = 25  # characters: shorter lines, such as `)`, stand anywhere


def tagged(notebook, tag: str) -> list:
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def without_solutions(notebook) -> list:
    return [cell for cell in notebook.cells if "solution" not in cell.metadata.get("tags", [])]


def left_over(original, copy) -> list[str]:
    """The lines of the original's solutions that can be read in the copy, and nowhere else in the original."""
    elsewhere = "\n".join(cell.source for cell in without_solutions(original))
    readable = "\n".join(cell.source for cell in copy.cells)
    solutions = "\n".join(cell.source for cell in tagged(original, "solution"))
    lines = {line.strip() for line in solutions.splitlines() if len(line) > TELLING}
    return sorted(line for line in lines if line in readable and line not in elsewhere)


def test_every_notebook_has_a_copy_without_its_solutions_and_outputs_and_with_all_else(tmp_path):
    folder = students.write(tmp_path / "one")
    assert sorted(path.name for path in folder.iterdir()) == [path.name for path in NOTEBOOKS]
    for path in NOTEBOOKS:
        original, copy = (nbformat.read(place / path.name, as_version=4) for place in (path.parent, folder))
        nbformat.validate(copy)
        assert tagged(original, "solution") and tagged(copy, "solution") == [], path.name
        assert left_over(original, copy) == [], path.name
        first, *others = copy.cells
        assert "Student copy" in first.source
        assert [(cell.id, cell.source) for cell in others] == [
            (cell.id, cell.source) for cell in without_solutions(original)
        ]
        exercises = [cell for cell in others if cell.source.startswith("## Exercise")]
        assert len(exercises) == len(tagged(copy, "exercise")) >= 2
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in others)
    again = students.write(tmp_path / "other") / NOTEBOOKS[0].name
    assert again.read_bytes() == (folder / NOTEBOOKS[0].name).read_bytes(), "two copies of one notebook are equal"


@pytest.mark.slow
def test_the_command_writes_copies_that_run(tmp_path, monkeypatch, capsys):
    with_exercise(tmp_path / "notebooks", "solution", "hide-cell")
    monkeypatch.setattr(lanes, "repository", lambda: tmp_path)
    assert cli.main(["students"]) == 0
    folder = tmp_path / "_build" / "students"
    assert str(folder) in capsys.readouterr().out
    copy = nbformat.read(folder / "01_small.ipynb", as_version=4)
    exercise = "## Exercise 1 · A sum (2 minutes)\n\nAdd the numbers below 100."
    assert [cell.source for cell in copy.cells[4:6]] == [exercise, "# your answer"]
    (link,) = re.findall(r"\]\((.+)\)", copy.cells[1].source)
    assert (folder / link).resolve() == (tmp_path / "book" / "glossary.md").resolve(), "a link that leads nowhere"
    runner.execute(folder / "01_small.ipynb", tmp_path / "run.ipynb", {})
    run = nbformat.read(tmp_path / "run.ipynb", as_version=4)
    assert [cell.outputs[0].text for cell in run.cells if cell.get("outputs")] == ["3\n"]


@pytest.mark.parametrize("tags", [(), ("hide-cell",)])
def test_a_solution_without_its_tag_stops_all_copies(tags, tmp_path):
    """As it would be after a slip: its text would stand in the copy."""
    source = with_exercise(tmp_path / "notebooks", "solution")
    old = students.write(tmp_path / "students", source)
    before = (old / "01_small.ipynb").read_bytes()
    with_exercise(source, "solution", name="00_first")
    with_exercise(source, *tags)
    contents(tmp_path, "00_first", "01_small")
    with pytest.raises(CourseError, match=r"01_small\.ipynb: Exercise 1 · A sum .*no cell below it is tagged"):
        students.write(tmp_path / "students", source)
    assert [path.name for path in old.iterdir()] == ["01_small.ipynb"], "the old copies, and no new one"
    assert (old / "01_small.ipynb").read_bytes() == before

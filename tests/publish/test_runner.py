"""The runner, on small notebooks of its own: order, resume, failing cells, names, folders that hold something else."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

from spokendigits.app import cli
from spokendigits.errors import CourseError
from spokendigits.files import read_json, runs_folder, write_json
from spokendigits.publish import runner

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
PARAMETERS = 'corpus = "synthetic"\nlane = "fast"\nrun = ""'


def write(folder, name, *sources):
    cells = [nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), folder / f"{name}.ipynb")


@pytest.fixture
def notebooks(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name in ("01_a", "02_b", "03_c"):
        write(folder, name, f"open(r'{tmp_path}/log', 'a').write('{name} ' + lane + '\\n')")
    return folder


def log(tmp_path):
    return (tmp_path / "log").read_text().splitlines() if (tmp_path / "log").exists() else []


def test_all_run_in_order_and_a_second_call_runs_none(notebooks, tmp_path, capsys):
    folder = runner.run(source=notebooks)
    assert log(tmp_path) == ["01_a fast", "02_b fast", "03_c fast"]
    assert folder == runs_folder() / "fast-synthetic"
    assert [path.name for path in sorted((folder / "notebooks").iterdir())] == [
        "01_a.ipynb",
        "02_b.ipynb",
        "03_c.ipynb",
    ]
    assert capsys.readouterr().out.count("[") == 3
    runner.run(source=notebooks)
    assert len(log(tmp_path)) == 3 and "done before" in capsys.readouterr().out


def test_a_changed_notebook_runs_again_with_all_after_it(notebooks, tmp_path):
    runner.run(source=notebooks)
    write(notebooks, "02_b", f"open(r'{tmp_path}/log', 'a').write('changed\\n')")
    runner.run(source=notebooks)
    assert log(tmp_path)[3:] == ["changed", "03_c fast"]


def test_the_failing_cell_is_shown_and_the_run_goes_on_from_there(notebooks, tmp_path, capsys):
    write(notebooks, "02_b", "x = 1", "raise ValueError('the lamp is out')")
    with pytest.raises(CourseError) as caught:
        runner.run(source=notebooks)
    message = str(caught.value)
    assert "02_b.ipynb" in message and "ValueError: the lamp is out" in message and "    raise ValueError" in message
    folder = runs_folder() / "fast-synthetic"
    assert (folder / "notebooks" / "02_b.failed.ipynb").exists() and not (folder / "notebooks" / "02_b.ipynb").exists()
    write(notebooks, "02_b", "x = 1")
    runner.run(source=notebooks)
    assert log(tmp_path) == ["01_a fast", "03_c fast"], "the first was not run again"
    assert not (folder / "notebooks" / "02_b.failed.ipynb").exists()


def test_parameters_pass_through_and_only_where_they_differ(notebooks, tmp_path):
    folder = runner.run(lane="full", name="mine", source=notebooks)
    assert log(tmp_path)[0] == "01_a full" and folder.name == "mine"
    injected = json.loads((folder / "notebooks" / "01_a.ipynb").read_text())["cells"][1]["source"]
    assert "full" in "".join(injected) and "corpus" not in "".join(injected)
    plain = runner.run(source=notebooks)
    assert "injected" not in (plain / "notebooks" / "01_a.ipynb").read_text()


def test_a_parameter_that_a_notebook_lacks_is_found_before_anything_starts(notebooks, tmp_path):
    cells = [nbformat.v4.new_code_cell("lane = 'fast'", metadata={"tags": ["parameters"]})]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), notebooks / "03_c.ipynb")
    with pytest.raises(CourseError, match=r"03_c\.ipynb: unknown parameter 'run'"):
        runner.run(name="mine", source=notebooks)
    assert log(tmp_path) == []


def test_a_folder_with_something_else_is_left_alone(notebooks, tmp_path):
    (runs_folder() / "mine").mkdir(parents=True)
    (runs_folder() / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(CourseError, match="no run of this course"):
        runner.run(name="mine", source=notebooks)
    assert [path.name for path in (runs_folder() / "mine").iterdir()] == ["thesis.txt"] and log(tmp_path) == []
    runner.run(name="first", source=notebooks)
    with pytest.raises(CourseError, match="holds a run with"):
        runner.run(name="first", lane="full", source=notebooks)


def test_ctrl_c_keeps_what_was_done(notebooks, tmp_path, monkeypatch):
    execute, calls = runner.execute, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        execute(*args)

    monkeypatch.setattr(runner, "execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.run(source=notebooks)
    assert list(read_json(runs_folder() / "fast-synthetic" / runner.STATE)["done"]) == ["01_a.ipynb"]
    runner.run(source=notebooks)
    assert log(tmp_path) == ["01_a fast", "02_b fast", "03_c fast"]


def test_tidy_keeps_only_the_last_state_of_a_progress_bar():
    pieces = ["\r 0%", "\r 50%", "\r100% done\nnext\r\n"]  # papermill stores each write as an output of its own
    outputs = [nbformat.v4.new_output("stream", name="stderr", text=piece) for piece in pieces]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("", outputs=outputs)], metadata={"papermill": {"x": 1}}
    )
    runner.tidy(notebook)
    (output,) = notebook.cells[0].outputs
    assert output.text == "100% done\nnext\n" and "papermill" not in notebook.metadata


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--lane", "fasst"], "Did you mean 'fast'"),
        (["run", "--corpus", "fssd"], "Did you mean 'fsdd'"),
        (["run", "--name", "../../etc"], "no name for a folder"),
        (["fetch", "audiomnits"], "Did you mean 'audiomnist'"),
        (["train", "--name", "x", "--split", "sorted"], "random, speaker, one_speaker, published"),
        (["train", "--name", "x", "--recipe", "nothing.yaml"], "no such file"),
        (["predict", "a.wav", "--model", "nothing.safetensors"], "no such checkpoint"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_status_2(arguments, words, capsys):
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith("error: ") and error.count("\n") == 1 and "Traceback" not in error


@pytest.mark.parametrize(("raised", "status", "words"), [
    (KeyboardInterrupt(), 130, "the same command continues"),
    (OSError(28, "No space left on device", "clips"), 2, "No space left"),
    (PermissionError(13, "Permission denied", "runs"), 2, "Permission denied"),
])  # fmt: skip
def test_trouble_from_outside_is_one_line_too(raised, status, words, capsys, monkeypatch):
    def trouble(*args):
        raise raised

    monkeypatch.setattr(runner, "run", trouble)
    assert cli.main(["run"]) == status
    assert words in capsys.readouterr().err


def test_train_then_predict_real_recordings(fsdd_root, tmp_path, capsys, recipe, monkeypatch):
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(fsdd_root.parent))
    recipe.but(corpus="fsdd", takes=4).to_yaml(tmp_path / "recipe.yaml")
    assert cli.main(["train", "--name", "mine", "--recipe", str(tmp_path / "recipe.yaml"), "--split", "speaker"]) == 0
    model = runs_folder() / "mine" / "model.safetensors"
    files = [str(fsdd_root / "recordings" / f"{digit}_theo_0.wav") for digit in range(3)]
    (tmp_path / "bad.wav").write_text("no sound")
    capsys.readouterr()
    assert cli.main(["predict", files[0], str(tmp_path / "bad.wav"), *files[1:], "--model", str(model)]) == 1
    out, err = capsys.readouterr()
    lines = [line.split("\t") for line in out.splitlines()]
    assert [line[0] for line in lines] == files, "one line a good file, in order"
    assert all(0 <= int(line[3]) <= 9 and 0 < float(line[4]) <= 1 for line in lines)
    assert all(0 <= float(line[1]) < float(line[2]) < 1 for line in lines), "where the word is, in seconds"
    assert "bad.wav" in err


def test_results_tell_the_seconds_of_every_notebook_that_ran(notebooks, tmp_path):
    folder = runner.run(source=notebooks)
    stored = lanes.stored("fast")
    write_json(folder / "metrics.json", stored["metrics"])
    for split, made in stored["trained"].items():
        write_json(folder / split / "run.json", made)
    write_json(
        folder / runner.STATE, read_json(folder / runner.STATE) | {"seconds": {"01_a.ipynb": 3.4, "02_b.ipynb": 61.7}}
    )
    prose = runner.results(folder)["prose"]
    assert (prose["seconds_01_a"], prose["seconds_02_b"], prose["seconds"]) == ("3", "62", "65")


def test_stored_results_are_found_in_a_checkout_and_beside_an_installed_package(tmp_path):
    assert "prose" in lanes.stored("seed")
    root = Path(runner.__file__).parent
    installed = tmp_path / "site" / "spokendigits"
    shutil.copytree(root, installed, ignore=shutil.ignore_patterns("__pycache__"))
    # As pyproject.toml maps it: the folder of results becomes a part of the package.
    settings = tomllib.loads((root.parent / "pyproject.toml").read_text())["tool"]["setuptools"]
    shutil.copytree(root.parent / settings["package-dir"]["spokendigits.results"], installed / "results")
    code = "from spokendigits import course; print(course.__file__, len(lanes.stored('seed')['prose']))"
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed.parent)},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert str(installed) in out and int(out.split()[-1]) == len(lanes.stored("seed")["prose"])
    folders = {path.parent.relative_to(root.parent).as_posix() for path in root.rglob("*.py")}
    named = {name.replace(".", "/") for name in settings["packages"]}
    assert folders == named - {"spokendigits/results"}, "pyproject.toml names every package"

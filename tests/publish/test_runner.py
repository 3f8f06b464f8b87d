"""The runner: order, resume, failing cells, names, folders that hold something else; and what the command line says of mistakes.

One run is papermill's own; in the others something else stands in for it.
"""

import shutil
import tomllib
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from small_course import contents, notebook

import spokendigits
from spokendigits import lanes
from spokendigits.app import cli
from spokendigits.errors import CourseError
from spokendigits.files import read_json, runs_folder, write_json
from spokendigits.publish import runner, words
from spokendigits.recipe import Recipe

NAMES = ("01_a", "02_b", "03_c")
PARAMETERS = 'corpus = "synthetic"\nlane = "fast"\nrun = ""'


def write(folder: Path, name: str, *sources: str, parameters: str = PARAMETERS) -> None:
    first = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    notebook(folder, name, [first, *map(new_code_cell, sources)])


@pytest.fixture
def notebooks(tmp_path) -> Path:
    """Three notebooks, and one that _toc.yml does not list."""
    folder = tmp_path / "notebooks"
    for name in (*NAMES, "09_a_readers_own"):
        write(folder, name, f"print({name!r}, lane)")
    contents(tmp_path, *NAMES)
    return folder


@pytest.fixture
def executed(monkeypatch) -> list[str]:
    """The names of the notebooks that were executed, as a copy each."""
    names = []

    def execute(path, target, parameters):
        names.append(path.stem)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)

    monkeypatch.setattr(runner, "execute", execute)
    return names


@pytest.mark.slow
def test_the_failing_cell_is_shown_and_the_run_goes_on_from_there(notebooks, capsys, tmp_path, monkeypatch):
    # Another Python's kernel of the same name, which Jupyter would find first.
    kernel = {"argv": ["false", "{connection_file}"], "display_name": "Another", "language": "python"}
    write_json(tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json", kernel)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    bar = "import sys\nfor done in (0, 50, 100):\n    sys.stderr.write(f'\\r{done} %')\n    sys.stderr.flush()"
    write(notebooks, "01_a", "print('01_a', lane)", bar)
    write(notebooks, "02_b", "x = 1", "raise ValueError('the lamp is out')")
    contents(notebooks.parent, *NAMES[:2])
    with pytest.raises(CourseError) as caught:
        runner.run(lane="full", name="mine", source=notebooks)
    message = str(caught.value)
    assert "02_b.ipynb" in message and "ValueError: the lamp is out" in message and "    raise ValueError" in message
    folder = runs_folder() / "mine" / "notebooks"
    assert {path.name for path in folder.iterdir()} == {"01_a.ipynb", "02_b.failed.ipynb"}
    cells = nbformat.read(folder / "01_a.ipynb", as_version=4).cells
    assert "full" in cells[1].source and "corpus" not in cells[1].source, "only what differs is injected"
    assert [output.text for cell in cells for output in cell.outputs] == ["01_a full\n", "100 %"]
    write(notebooks, "02_b", "x = 1")
    capsys.readouterr()
    assert runner.run(lane="full", name="mine", source=notebooks) == runs_folder() / "mine"
    assert "[1/2] 01_a: done before\n[2/2] 02_b … " in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == {"01_a.ipynb", "02_b.ipynb"}


def test_all_that_are_listed_run_in_order_and_again_only_from_the_first_that_changed(notebooks, executed, capsys):
    folder = runner.run(source=notebooks)
    assert executed == list(NAMES) and folder == runs_folder() / "fast-synthetic"
    assert sorted(path.stem for path in (folder / "notebooks").iterdir()) == list(NAMES)
    assert list(read_json(folder / runner.STATE)["seconds"]) == [f"{name}.ipynb" for name in NAMES]
    capsys.readouterr()
    runner.run(source=notebooks)
    assert len(executed) == 3 and capsys.readouterr().out.count("done before") == 3
    write(notebooks, "02_b", "'changed'")
    runner.run(source=notebooks)
    assert executed[3:] == ["02_b", "03_c"]


def test_ctrl_c_keeps_what_was_done(notebooks, executed, monkeypatch):
    stops, copy = [KeyboardInterrupt], runner.execute

    def interrupted(path, *others):
        if path.stem == "02_b" and stops:
            raise stops.pop()
        copy(path, *others)

    monkeypatch.setattr(runner, "execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.run(source=notebooks)
    assert list(read_json(runs_folder() / "fast-synthetic" / runner.STATE)["done"]) == ["01_a.ipynb"]
    runner.run(source=notebooks)
    assert executed == list(NAMES)


def test_what_is_wrong_is_found_before_anything_starts(notebooks, executed):
    write(notebooks, "03_c", parameters="lane = 'fast'")
    with pytest.raises(CourseError, match=r"03_c\.ipynb: unknown parameter 'run'"):
        runner.run(name="mine", source=notebooks)
    (notebooks / "03_c.ipynb").write_text((notebooks / "02_b.ipynb").read_text()[:100])
    with pytest.raises(CourseError, match=r"03_c\.ipynb: no whole notebook"):
        runner.run(source=notebooks)
    (notebooks / "03_c.ipynb").unlink()
    with pytest.raises(CourseError, match=r"03_c\.ipynb: missing, and _toc\.yml lists it"):
        runner.run(source=notebooks)
    contents(notebooks.parent, *NAMES[:2])
    (runs_folder() / "mine").mkdir(parents=True)
    (runs_folder() / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(CourseError, match="no run of this course"):
        runner.run(name="mine", source=notebooks)
    assert [path.name for path in (runs_folder() / "mine").iterdir()] == ["thesis.txt"] and executed == []
    runner.run(name="first", source=notebooks)
    with pytest.raises(CourseError, match="holds a run with"):
        runner.run(name="first", lane="full", source=notebooks)
    for folder in ("anna/words", "ben/words"):  # two of one name, and so of one run
        (notebooks / folder).mkdir(parents=True)
        (notebooks / folder / "7_me_0.wav").touch()
    runner.run(str(notebooks / "anna/words"), source=notebooks)
    with pytest.raises(CourseError, match=r"fast-words holds a run with .*anna.words'.*, not .*ben.words'"):
        runner.run(str(notebooks / "ben/words"), source=notebooks)
    write_json(runs_folder() / "first" / runner.STATE, {"other": 1})
    with pytest.raises(CourseError, match=rf"first/{runner.STATE}: damaged"):
        runner.run(name="first", source=notebooks)


def test_tidy_keeps_only_the_last_state_of_a_progress_bar():
    # papermill stores each write as an output of its own
    writes = [("stderr", text) for text in ("\r 0%", "\r 50%", "\r100% done\nnext\r\n", "\rbar\r")]
    outputs = [new_output("stream", name=name, text=text) for name, text in [*writes, ("stdout", "one\n")]]
    outputs += [new_output("display_data"), new_output("stream", name="stderr", text="\r 1%\r 2%")]
    run = new_notebook(cells=[new_code_cell("", outputs=outputs)], metadata={"papermill": {"x": 1}})
    runner.tidy(run)
    texts = [output.get("text") for output in run.cells[0].outputs]
    assert texts == ["100% done\nnext\nbar", "one\n", None, " 2%"] and "papermill" not in run.metadata


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--lane", "fasst"], "Did you mean 'fast'"),
        (["run", "--corpus", "fssd"], "Did you mean 'fsdd'"),
        (["run", "--name", "../../etc"], "no name for a folder"),
        (["run", "--set", "seconds=99"], "less than or equal to 60"),
        (["run", "--set", "second=1.5"], "Did you mean 'seconds'"),
        (["train", "--name", "x" * 300], "no name for a folder"),
        (["compare", "x" * 300], "File name too long"),
        (["train", "--name", "caf\udce9"], "no name for a folder"),
        (["fetch", "audiomnits"], "Did you mean 'audiomnist'"),
        (["train", "--name", "x", "--split", "sorted"], "'random', 'speaker', 'one_speaker' or 'published'"),
        (["train", "--name", "x", "--recipe", "nothing.yaml"], "no such file"),
        (["predict", "a.wav", "--model", "nothing.safetensors"], "no such checkpoint"),
        (["book"], "clone the course's repository"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_status_2(arguments, words, capsys, monkeypatch):
    if arguments == ["book"]:  # as installed; and nothing is fetched first
        monkeypatch.setattr(lanes, "checkout", lambda: None)
        monkeypatch.setattr("spokendigits.publish.npm.prepare", lambda: pytest.fail("fetched"))
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith("error: ") and error.count("\n") == 1 and "Traceback" not in error


@pytest.mark.parametrize(("raised", "status", "words"), [
    (KeyboardInterrupt(), 130, "the same command continues"),
    (OSError(28, "No space left on device", "clips"), 2, "No space left"),
    (PermissionError(13, "Permission denied", "runs"), 2, "Permission denied"),
    (UnicodeEncodeError("utf-8", "caf\udce9.wav", 3, 4, "surrogates not allowed"), 2, "caf\\udce9.wav' is no UTF-8"),
    (NotADirectoryError(20, "Not a directory", "file/x"), 2, "or name another place.\n"),
])  # fmt: skip
def test_trouble_from_outside_is_one_line_too(raised, status, words, capsys, monkeypatch):
    def trouble(*args, **settings):
        raise raised

    monkeypatch.setattr(runner, "run", trouble)
    assert cli.main(["run"]) == status
    assert words in capsys.readouterr().err


def test_settings_reach_every_notebook_and_belong_to_the_run(notebooks, executed, monkeypatch):
    monkeypatch.setenv(lanes.SETTINGS, "")
    runner.run(name="long", source=notebooks, settings={"seconds": 1.5})
    assert lanes.recipe("fast", "synthetic").seconds == 1.5 and lanes.settings() == {"seconds": 1.5}
    with pytest.raises(CourseError, match=r"holds a run with .*1\.5"):
        runner.run(name="long", source=notebooks)
    runner.run(name="20240105", source=notebooks)
    assert lanes.recipe("fast", "synthetic") == Recipe.preset("fast")
    assert lanes.run_folder(20240105, "fast", "synthetic") == runs_folder() / "20240105"


def test_time_and_useful_settings_are_said_before_anything_starts(tones, monkeypatch, capsys):
    monkeypatch.setattr(runner, "run", lambda *given, **how: tones.root)
    assert cli.main(["run", "--no-book"]) == 0
    minutes = round(sum(lanes.stored("fast")["course"]["seconds"].values()) / 60)
    assert f"1,200 clips: about {minutes} minutes on two" in capsys.readouterr().out
    assert cli.main(["run", "--no-book", "--corpus", str(tones.root), "--set", "seconds=0.4"]) == 0
    out, err = capsys.readouterr()
    assert "180 clips: about" in out and "To keep more: --set seconds=0.6" in err and "--recipe own" in err


@pytest.mark.slow
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


def test_a_runs_results_are_worded_as_the_stored_ones_are(tmp_path):
    """Also the seconds of every notebook that ran, which are the run's own."""
    stored = lanes.stored("fast")
    write_json(tmp_path / "metrics.json", stored["metrics"])
    for split, record in stored["trained"].items():
        write_json(tmp_path / split / "run.json", record)
    write_json(tmp_path / runner.STATE, stored["course"])
    assert words.fast(tmp_path)["prose"] == stored["prose"]
    write_json(tmp_path / runner.STATE, stored["course"] | {"seconds": {"01_a.ipynb": 3.4, "02_b.ipynb": 61.7}})
    prose = words.fast(tmp_path)["prose"]
    assert (prose["seconds_01_a"], prose["seconds_02_b"], prose["seconds"]) == ("3", "62", "65")


def test_pyproject_names_every_package_and_all_data_beside_the_modules():
    """What an installed package reads there, test_export tries out."""
    root = Path(spokendigits.__file__).parent
    settings = tomllib.loads((root.parent / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent.relative_to(root.parent).as_posix().replace("/", ".") for path in root.rglob("*.py")}
    assert folders == set(settings["packages"]) - {"spokendigits.shipped"}
    names = ("model_card.*", "references.bib", "_static/say/digits.onnx", "results/*.json")
    shipped = [path for name in names for path in (root.parent / "book").glob(name)]
    beside = [path for path in root.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    carried = set()
    for package, patterns in settings["package-data"].items():
        folder = root.parent / settings["package-dir"].get(package, package.replace(".", "/"))
        carried |= {path for pattern in patterns for path in folder.glob(pattern)}
    assert [path.name for path in (*shipped, *beside) if path not in carried] == []

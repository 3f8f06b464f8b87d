"""Runs the notebooks in order with papermill (`spokendigits run`)."""

import hashlib
import json
import os
import re
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import yaml

import spokendigits
from spokendigits import corpora, lanes
from spokendigits.errors import CourseError, check_names
from spokendigits.files import atomic_file, read_json, write_json

DEFAULTS = {"corpus": "synthetic", "lane": "fast", "run": ""}
STATE = "course.json"
OWN = ("random", "speaker", "plain", "augmented", "small", "taught")  # what the notebooks call their trainings


def pages(folder: Path | str) -> list[str]:
    """The pages that `folder`/_toc.yml lists, in order, without a suffix: `book/index`, `notebooks/01_data`, ..."""
    toc = yaml.safe_load((Path(folder) / "_toc.yml").read_text(encoding="utf-8"))
    return [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]


def notebooks(folder: Path, listed: list[str] | None = None) -> list[Path]:
    """The notebooks of `folder` among the pages `listed` (None: those of the _toc.yml beside it); CourseError if one is missing."""
    listed = pages(folder.parent) if listed is None else listed
    paths = [folder / f"{Path(page).name}.ipynb" for page in listed if page.startswith("notebooks/")]
    for path in paths:
        if not path.is_file():
            raise CourseError(f"{path}: missing, and _toc.yml lists it. Run the notebooks: `spokendigits run`.")
    return paths


def run(
    corpus: str = "synthetic",
    lane: str = "fast",
    name: str = "",
    source: Path | None = None,
    settings: dict | None = None,
) -> Path:
    """Executes all notebooks in order into `runs/<name>/notebooks` and returns `runs/<name>`.

    settings: what all recipes have otherwise. Nothing starts before all names are checked. Notebooks that were done, and
    have not changed since, are not run again, so the same command continues after a failure. Raises CourseError that
    shows the failing cell.
    """
    os.environ[lanes.SETTINGS] = json.dumps(settings or {}, default=str)  # kernels inherit it
    lanes.recipe(lane, corpus)
    if corpus not in corpora.NAMES:  # a folder, which the notebooks would look for beside themselves
        corpora.check_name(corpus)
        corpus = str(Path(corpus).resolve())
    folder = lanes.run_folder(name, lane, corpus)
    paths = notebooks(source or lanes.repository() / "notebooks")
    given = {"corpus": corpus, "lane": lane, "run": name}
    # A default is left to the notebook, so that its page shows no second parameter cell that says the same.
    parameters = {key: value for key, value in given.items() if value != DEFAULTS[key]}
    for path in paths:
        check_parameters(path, parameters)
    state = state_of(folder, given | ({"set": settings} if settings else {}))
    for number, path in enumerate(paths, 1):
        digest = hashlib.sha256(path.read_bytes() + spokendigits.__version__.encode()).hexdigest()
        target = folder / "notebooks" / path.name
        print(f"[{number}/{len(paths)}] {path.stem}", end="", flush=True)
        if state["done"].get(path.name) == digest and target.is_file():
            print(": done before", flush=True)
            continue
        # What comes later stands on this one.
        state["done"] = {done: value for done, value in state["done"].items() if done < path.name}
        print(" …", end=" ", flush=True)
        started = time.perf_counter()
        execute(path, target, parameters)
        seconds = time.perf_counter() - started
        print(f"{seconds:.0f} s", flush=True)
        state["done"][path.name] = digest
        state["seconds"][path.name] = round(seconds, 1)
        write_json(folder / STATE, state)
    return folder


def state_of(folder: Path, parameters: dict) -> dict:
    """The state kept in a run's folder, new or from before; CourseError if the folder is something else's."""
    if (folder / STATE).is_file():
        state = read_json(folder / STATE, "parameters", "done", "seconds")
        if state["parameters"] != parameters:
            raise CourseError(
                f"{folder} holds a run with {state['parameters']}, not {parameters}. Choose another --name, or delete that folder."
            )
        return state
    # Notebooks opened by hand leave their trainings here too; those may be used again.
    entries = folder.iterdir() if folder.is_dir() else ()
    if any(entry.name not in OWN and entry.suffix not in (".csv", ".json") for entry in entries):
        raise CourseError(f"{folder} holds something that is no run of this course. Choose another --name.")
    state = {"parameters": parameters, "done": {}, "seconds": {}}
    write_json(folder / STATE, state)
    return state


def check_parameters(path: Path, parameters: dict) -> None:
    """CourseError if a notebook lacks one of the parameters: papermill would only write a log line."""
    import papermill

    read(path)
    check_names(parameters, list(papermill.inspect_notebook(str(path))), f"{path.name}: unknown parameter")


def read(path: Path):
    """A notebook; CourseError that names the file where it is none, such as one that was cut off."""
    import nbformat  # here: of the extra `course`, and the model card, which looks up STATE here, does without it

    try:
        return nbformat.read(path, as_version=4)
    except ValueError as error:  # of JSON, of text or of the form
        why = type(error).__name__
        raise CourseError(
            f"{path}: no whole notebook ({why}). Take it from the repository again, or run it again."
        ) from None


def execute(path: Path, target: Path, parameters: dict) -> None:
    """Executes one notebook into `target`. If a cell fails, `target` keeps its old content and the failed copy lies beside it."""
    import nbformat
    import papermill
    from ipykernel.kernelspec import write_kernel_spec
    from papermill.exceptions import PapermillExecutionError

    failed = target.with_suffix(".failed.ipynb")
    # The kernel would warn on every start that it talks over TCP, on this computer alone.
    options = {"kernel_name": "python3", "progress_bar": False, "extra_arguments": ["--log-level=CRITICAL"]}
    # This Python's kernel, whatever other kernels of its name Jupyter would find first.
    own = tempfile.TemporaryDirectory()
    write_kernel_spec(f"{own.name}/kernels/python3")
    first = {"JUPYTER_PATH": os.pathsep.join(filter(None, (own.name, os.environ.get("JUPYTER_PATH"))))}
    with atomic_file(target) as temporary, own, patch.dict(os.environ, first):
        try:
            papermill.execute_notebook(str(path), str(temporary), parameters, cwd=str(path.parent), **options)
        except PapermillExecutionError as error:
            os.replace(temporary, failed)
            source = "\n".join(f"    {line}" for line in error.source.splitlines())
            raise CourseError(
                f"{path.name}: cell {error.cell_index} failed with {error.ename}: {error.evalue}\n\n{source}\n\n"
                f"The executed copy: {failed}. After mending it, the same command continues from here."
            ) from None
        notebook = nbformat.read(temporary, as_version=4)
        tidy(notebook)
        nbformat.write(notebook, temporary)
    failed.unlink(missing_ok=True)


def tidy(notebook) -> None:
    """Takes out what differs from run to run: papermill's paths and times, and all but the last state of progress bars."""
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

    notebook.metadata.pop("papermill", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    CoalesceStreamsPreprocessor(enabled=True)(notebook, {})
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = re.sub(r"\r(?=\n|$)", "", output.text)

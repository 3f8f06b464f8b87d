"""Runs the notebooks in order with papermill, and gathers what they found."""

import hashlib
import os
import tempfile
import time
from pathlib import Path

import nbformat

import spokendigits
from spokendigits import corpora
from spokendigits.corpora import Corpus
from spokendigits.errors import CourseError
from spokendigits.files import atomic_file, read_json, runs_folder, versions, write_json
from spokendigits.recipe import Recipe, check_names

LANES = {"fast": "fast", "full": "seed"}  # lane: preset of the recipe
LARGE = ("synthetic", "audiomnist")  # the fast lane takes a part of these; other corpora are small enough whole
DEFAULTS = {"corpus": "synthetic", "lane": "fast", "run": ""}
STATE = "course.json"
OWN = ("random", "speaker", "plain", "augmented", "small", "taught")  # what the notebooks call their trainings


def recipe(lane: str, corpus: str) -> Recipe:
    """The recipe of a lane for a corpus: `fast` takes minutes on a CPU, `full` is the seed experiment's size."""
    check_names([lane], list(LANES), "unknown lane")
    preset = Recipe.preset(LANES[lane]).but(corpus=corpus)
    return preset if corpus in LARGE else preset.but(speakers=None, takes=None)


def honest_split(lane: str, corpus: str) -> str:
    """The split with new voices on its other side: the published folds where there are some and the lane is full."""
    return "published" if lane == "full" and corpus in LARGE else "speaker"


def run_folder(run: str, lane: str, corpus: str) -> Path:
    """The folder of a run, `runs/<run>`; without a name, `runs/<lane>-<corpus>`."""
    name = run or f"{lane}-{Path(corpus).name}"
    if Path(name).name != name or name in (".", ".."):
        raise CourseError(f"run: {name!r} is no name for a folder. Use letters, digits, '-' and '_'.")
    return runs_folder() / name


def notebooks_folder() -> Path:
    """The notebooks of the checkout; CourseError where only the package is installed."""
    folder = Path(__file__).resolve().parent.parent / "notebooks"
    if not folder.is_dir():
        raise CourseError("the notebooks are not here: clone the course's repository and run this inside it.")
    return folder


def stored(name: str) -> dict:
    """The results that the book shows: fsdd, synthetic, small, export, full, fast, bench or seed, of `book/results`.

    Each says what made it. They come with the package, so that notebooks find them on Colab, too.
    """
    package = Path(__file__).resolve().parent
    folders = [package.parent / "book" / "results", package / "results"]
    return read_json(next(folder for folder in folders if folder.is_dir()) / f"{name}.json")


def made_by(used: Recipe, corpus: Corpus, started: float, *runs: Path) -> None:
    """Prints what made a notebook's numbers: corpus, device, seconds since `started` (`time.perf_counter`), versions."""
    lane = next((lane for lane in LANES if used == recipe(lane, used.corpus)), "own recipe")
    print(f"lane    : {lane}")
    print(f"corpus  : {corpus.label}, {len(corpus):,} clips, {corpus.source}")
    print(f"time    : {time.perf_counter() - started:.0f} s for this notebook")
    for folder in runs:
        made = read_json(folder / "run.json")
        print(
            f"training: {made['seconds']:.0f} s on {made['device']} ({made['precision']}), split {made['recipe']['split']}, weights {made['weights']}"
        )
        if made["warning"]:
            print(f"          {made['warning']}")
    print("versions:", ", ".join(f"{name} {found}" for name, found in versions().items()))


def run(corpus: str = "synthetic", lane: str = "fast", name: str = "", source: Path | None = None) -> Path:
    """Executes all notebooks in order into `runs/<name>/notebooks` and returns `runs/<name>`.

    Nothing starts before all names are checked. Notebooks that were done, and have not changed since, are not run again,
    so the same command continues after a failure. Raises CourseError that shows the failing cell.
    """
    recipe(lane, corpus)
    if corpus not in corpora.NAMES:  # a folder, which the notebooks would look for beside themselves
        corpora.check_name(corpus)
        corpus = str(Path(corpus).resolve())
    folder = run_folder(name, lane, corpus)
    paths = sorted((source or notebooks_folder()).glob("[0-9][0-9]_*.ipynb"))
    given = {"corpus": corpus, "lane": lane, "run": name}
    # A default is left to the notebook, so that its page shows no second parameter cell that says the same.
    parameters = {key: value for key, value in given.items() if value != DEFAULTS[key]}
    for path in paths:
        check_parameters(path, parameters)
    state = claim(folder, given)
    for number, path in enumerate(paths, 1):
        digest = hashlib.sha256(path.read_bytes() + spokendigits.__version__.encode()).hexdigest()
        target = folder / "notebooks" / path.name
        if state["done"].get(path.name) == digest and target.is_file():
            print(f"[{number}/{len(paths)}] {path.stem}: done before", flush=True)
            continue
        # What comes later stands on this one.
        state["done"] = {done: value for done, value in state["done"].items() if done < path.name}
        print(f"[{number}/{len(paths)}] {path.stem} …", end=" ", flush=True)
        started = time.perf_counter()
        execute(path, target, parameters)
        seconds = time.perf_counter() - started
        print(f"{seconds:.0f} s", flush=True)
        state["done"][path.name] = digest
        state["seconds"][path.name] = round(seconds, 1)
        write_json(folder / STATE, state)
    return folder


def claim(folder: Path, parameters: dict) -> dict:
    """The state kept in a run's folder, new or from before; CourseError if the folder is something else's."""
    if (folder / STATE).is_file():
        state = read_json(folder / STATE)
        if state["parameters"] != parameters:
            raise CourseError(
                f"{folder} holds a run with {state['parameters']}, not {parameters}. Choose another --name, or delete that folder."
            )
        return state
    # Notebooks opened by hand leave their trainings here too; those may be used again.
    if folder.is_dir() and any(
        entry.name not in OWN and entry.suffix not in (".csv", ".json") for entry in folder.iterdir()
    ):
        raise CourseError(f"{folder} holds something that is no run of this course. Choose another --name.")
    state = {"parameters": parameters, "done": {}, "seconds": {}}
    write_json(folder / STATE, state)
    return state


def check_parameters(path: Path, parameters: dict) -> None:
    """CourseError if a notebook lacks one of the parameters: papermill would only write a log line."""
    import papermill

    check_names(parameters, list(papermill.inspect_notebook(str(path))), f"{path.name}: unknown parameter")


def execute(path: Path, target: Path, parameters: dict) -> None:
    """Executes one notebook into `target`. If a cell fails, `target` keeps its old content and the failed copy lies beside it."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    target.parent.mkdir(parents=True, exist_ok=True)
    failed = target.with_suffix(".failed.ipynb")
    with atomic_file(target) as temporary:
        try:
            papermill.execute_notebook(
                str(path),
                str(temporary),
                parameters,
                cwd=str(path.parent),
                kernel_name="python3",
                progress_bar=False,
                # The kernel would warn on every start that it talks over TCP, on this computer alone.
                extra_arguments=["--log-level=CRITICAL"],
            )
        except PapermillExecutionError as error:
            os.replace(temporary, failed)
            raise CourseError(
                f"{path.name}: cell {error.cell_index} failed with {error.ename}: {error.evalue}\n\n{_indent(error.source)}\n\n"
                f"The executed copy: {failed}. After mending it, the same command continues from here."
            ) from None
        notebook = nbformat.read(temporary, as_version=4)
        tidy(notebook)
        nbformat.write(notebook, temporary)
    failed.unlink(missing_ok=True)


def tidy(notebook) -> None:
    """Takes out what differs from run to run: papermill's paths and times, and all but the last state of progress bars."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)


def _joined(outputs: list) -> list:
    """Outputs with what was written in pieces to one stream put together, and overwritten lines left out."""
    joined = []
    for output in outputs:
        if output.output_type == "stream" and joined and joined[-1].get("name") == output.name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    for output in joined:
        if output.output_type == "stream":
            lines = output.text.split("\n")
            output.text = "\n".join(line.rstrip("\r").split("\r")[-1] for line in lines)
    return joined


def _indent(source: str) -> str:
    return "\n".join(f"    {line}" for line in source.splitlines())


def weights_name(label: str) -> str:
    """The weights a backbone started from, as a page names them."""
    return {"imagenet": "ImageNet", "none": "random"}.get(label, label)


def results(folder: Path) -> dict:
    """What a run found and what made it; `prose` holds the same as text for the book's pages."""
    from spokendigits.evaluation import in_words  # here: the command line need not wait for torch

    found = read_json(folder / "metrics.json")
    trained = {split: read_json(folder / split / "run.json") for split in ("random", "speaker")}
    state = read_json(folder / STATE)
    made = trained["random"]
    seconds = sum(state["seconds"].values())

    prose = {
        "lane": state["parameters"]["lane"],
        "corpus": made["corpus"],
        "clips": f"{made['clips_train'] + made['clips_validation']:,}",
        "accuracy_random": in_words(found["random"]),
        "accuracy_speaker": in_words(found["speaker"]),
        "roc_auc_random": f"{found['random']['roc_auc']:.5f}",
        "roc_auc_speaker": f"{found['speaker']['roc_auc']:.5f}",
        "weights": weights_name(made["weights"]),
        "warning": made["warning"] or "The backbone started from published weights, as in the seed experiment.",
        "device": made["device"],
        "training_seconds": f"{sum(one['seconds'] for one in trained.values()):.0f}",
        "seconds": f"{seconds:.0f}",
        "version": made["versions"]["spokendigits"],
        "torch": made["versions"]["torch"],
        "date": made["finished"][:10],
    }
    for name, one in state["seconds"].items():
        prose[f"seconds_{Path(name).stem}"] = f"{one:.0f}"
    return {"prose": prose, "metrics": found, "trained": trained, "course": state}


def store_outputs() -> None:
    """Runs the fast lane afresh and stores its outputs in the notebooks, and its results for the book (`make outputs`)."""
    checkout = notebooks_folder().parent
    with tempfile.TemporaryDirectory() as fresh:
        os.environ["SPOKENDIGITS_HOME"] = fresh
        folder = run()
        for path in sorted((folder / "notebooks").glob("*.ipynb")):
            with atomic_file(notebooks_folder() / path.name) as temporary:
                temporary.write_bytes(path.read_bytes())
        write_json(checkout / "book" / "results" / "fast.json", results(folder))


def build_book(folder: Path) -> Path:
    """Builds the book from a run's executed notebooks; returns its first page."""
    from spokendigits import book, full

    print("book …", end=" ", flush=True)
    started = time.perf_counter()
    # A run of the full lane stands in its own book in place of the stored one.
    is_full = read_json(folder / STATE)["parameters"]["lane"] == "full"
    own = full.results(folder / "random") if is_full else None
    index = book.build(folder / "notebooks", folder / "book", results(folder)["prose"], own)
    print(f"{time.perf_counter() - started:.0f} s", flush=True)
    return index

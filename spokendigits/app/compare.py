"""`spokendigits compare`: training runs side by side, as two tables, a figure, and what to beware of."""

import os
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from spokendigits.errors import CourseError, check_names
from spokendigits.files import atomic_file, read_json, runs_folder
from spokendigits.lanes import RUN
from spokendigits.plots import BLUE, GREEN, GREY, ORANGE, describe, described, figure
from spokendigits.recipe import Recipe
from spokendigits.runs import CHECKPOINT, trainings

SCORES = ["loss", "roc_auc", "accuracy", "log_loss"]
STEPS, HISTORY = ["step", "loss"], ["epoch", *SCORES, "seconds"]  # columns of steps.csv and history.csv
FACTS = ["corpus", "clips_train", "clips_validation", "weights", "device", "precision"]  # of run.json
FORMATS = {name: "{:.4f}".format for name in SCORES} | {
    "roc_auc": "{:.5f}".format,  # it saturates: with four digits it would soon read 1.0000
    "seconds": "{:,.0f}".format,
    "clips/s": "{:,.0f}".format,
}
WIDTH = 100  # characters; a wider table goes on below
# Line styles and markers tell runs apart without colour; as there is one colour more, 42 runs look different.
COLOURS = [BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", GREY]
STYLES = ["-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (10, 2))]
MARKERS = "os^DvP"


@dataclass(frozen=True)
class Run:
    """One training: what made it (run.json), its recipe, and its curves (STEPS and HISTORY), all numbers float."""

    name: str
    made: dict
    recipe: Recipe
    steps: pd.DataFrame
    history: pd.DataFrame

    @property
    def finished(self) -> bool:
        """Whether it trained to its end."""
        return "seconds" in self.made

    @property
    def epochs(self) -> str:
        """The epochs done, such as "3 of 5"."""
        return f"{len(self.history)} of {self.recipe.epochs}"


def report(names: list[str], picture: Path | str | None = None) -> str:
    """Compares runs: writes a figure of their curves to a PNG (None: runs/compare.png) and returns the rest as text.

    Each name is a path, or a name under `runs_folder()`, of a training or of a course run, which stands for its
    trainings. Raises CourseError for a run that is not there or cannot be read.
    """
    picture = runs_folder() / "compare.png" if picture is None else Path(picture)
    if picture.suffix.lower() != ".png":
        raise CourseError(f"compare: {picture} is no name for a PNG. Let it end in .png.")
    runs = find_runs(names)
    # A finished run knows its corpus's label, an unfinished one only the name.
    last = sorted(runs, key=lambda run: run.finished)
    labels = {run.recipe.corpus: run.made.get("corpus", run.recipe.corpus) for run in last}
    curves = {
        run.name if run.finished else f"{run.name} (unfinished, epoch {run.epochs})": (run.steps, run.history)
        for run in runs
        if len(run.history)
    }
    if not curves:
        raise CourseError(f"compare: no epoch is done yet in {', '.join(run.name for run in runs)}. Let one end first.")
    shown = draw_curves(curves, " and ".join(labels.values()))._repr_mimebundle_()
    try:
        with atomic_file(picture) as temporary:
            temporary.write_bytes(shown["image/png"])
    except OSError as error:
        raise CourseError(f"compare: {picture} cannot be written ({error.strerror}). Give --figure another.") from None
    facts = made_by(runs)
    apart = differ(facts)
    same = [f"{name} {row.dropna().iloc[0]}" for name, row in facts[~apart].iterrows() if name in FACTS and row.any()]
    table = pd.concat({"recipe": settings(runs), "made by": facts[apart]})
    metric = ", ".join(dict.fromkeys(run.recipe.metric for run in runs))
    return "\n".join(
        [
            *([table.to_string(na_rep="", line_width=WIDTH), ""] if len(table) else []),
            *([f"the same in all that record it: {'; '.join(same)}", ""] if same else []),
            scores(runs).to_string(na_rep="", formatters=FORMATS, line_width=WIDTH),
            f"(best: the epoch with the best value of the recipe's metric, {metric})",
            "",
            *[f"warning: {caution}" for caution in cautions(runs)],
            described(shown["text/plain"])[0],
            f"figure: {picture}",
        ]
    )


def find_runs(names: list[str]) -> list[Run]:
    """The trainings that the names stand for, each once; CourseError as for `report`."""
    folders = {}
    for name in names:
        found = trainings(Path(name)) or trainings(runs_folder() / name)
        if not found:
            courses = [folder for folder in runs_folder().glob("*") if trainings(folder)]
            known = sorted({_label(run) for folder in courses for run in (folder, *trainings(folder))})
            if not known:
                raise CourseError(
                    f"no run {name!r}, and none at all in {runs_folder()}. Make one: `spokendigits train`."
                )
            check_names([name], known, f"no run at this path, or in {runs_folder()}:")
        folders |= {_label(folder): folder for folder in found}
    return [read_one(folder, label) for label, folder in folders.items()]


def _label(folder: Path) -> str:
    """The name of a folder under `runs_folder()`; elsewhere its path, as it was given."""
    absolute = Path(os.path.abspath(folder))  # not resolved: a link among the runs keeps its own name
    inside = absolute.is_relative_to(runs_folder())
    return absolute.relative_to(runs_folder()).as_posix() if inside else str(folder)


def read_one(folder: Path, name: str) -> Run:
    """Reads a training folder; an unfinished one gives what its last checkpoint recorded. CourseError if it is broken."""
    try:
        made = read_json(folder / RUN)
        recipe = Recipe().but(**made["recipe"])
        if "seconds" in made:
            steps, history = (pd.read_csv(folder / f"{part}.csv") for part in ("steps", "history"))
        else:
            checkpoint = folder / CHECKPOINT / "state.json"
            state = read_json(checkpoint) if checkpoint.is_file() else {"weights": None, "steps": [], "history": []}
            made["weights"] = state["weights"]
            steps = pd.DataFrame(state["steps"], columns=STEPS)
            history = pd.DataFrame(state["history"], columns=HISTORY)
        return Run(name, made, recipe, steps[STEPS].astype(float), history[HISTORY].astype(float))
    except (CourseError, OSError, KeyError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CourseError(
            f"{folder}: not readable as a training run ({what}). Leave it out, or train it again."
        ) from None


def settings(runs: list[Run]) -> pd.DataFrame:
    """The settings that differ, a row each, a column for each run; a single run stands beside the seed experiment."""
    recipes = {run.name: run.recipe for run in runs}
    if len(runs) == 1:
        recipes["the seed experiment"] = Recipe()
    table = pd.DataFrame({name: pd.Series(recipe.to_dict(), dtype=object).map(str) for name, recipe in recipes.items()})
    return table[differ(table)]


def made_by(runs: list[Run]) -> pd.DataFrame:
    """What made each run, a column each: corpus, clips, weights that it really started from, device, versions."""
    facts = {
        run.name: {fact: run.made[fact] for fact in FACTS if run.made.get(fact)} | run.made.get("versions", {})
        for run in runs
    }
    return pd.DataFrame(facts, dtype=object)


def differ(table: pd.DataFrame) -> pd.Series:
    """Which rows hold more than one value; what is missing is no value."""
    return table.nunique(axis=1) > 1


def scores(runs: list[Run]) -> pd.DataFrame:
    """The validation scores of each run's last epoch, and of its best one where that is another, a row each.

    Columns: epoch ("5 of 5"), loss, roc_auc, accuracy, log_loss; then, once for each run, its seconds of training and
    the clips it learned from in each of them.
    """
    rows = {}
    for run in runs:
        history, done, seconds = run.history, len(run.history), run.history["seconds"]
        metric = history[run.recipe.metric] * (-1 if run.recipe.metric == "log_loss" else 1)
        best = metric.argmax() + 1 if metric.notna().any() else None
        last = history[SCORES].iloc[-1] if done else {}
        speed = {"seconds": seconds.sum(), "clips/s": run.made.get("clips_epoch", float("nan")) / seconds.mean()}
        kind = ("last" if run.finished else "unfinished") + (", best" if best == done else "")
        rows[run.name, kind] = {"epoch": run.epochs, **last, **speed}
        if best and best < done:
            rows[run.name, "best"] = {"epoch": f"{best} of {run.recipe.epochs}", **history[SCORES].iloc[best - 1]}
    columns = ["epoch", *SCORES, "seconds", "clips/s"]
    return pd.DataFrame(rows.values(), index=pd.MultiIndex.from_tuples(rows), columns=columns)


def cautions(runs: list[Run]) -> list[str]:
    """What a reader must know before comparing the scores, one line each."""
    warnings = []
    if apart := _values({run.name: _held_out(run) for run in runs}):
        warnings.append(f"not validated on the same clips ({apart}), so the scores answer different questions.")
    if apart := _values({run.name: {"loss": run.recipe.loss} for run in runs}):
        warnings.append(f"not the same kind of loss ({apart}); compare log_loss, which is one for all.")
    if apart := _values({run.name: {"backbone": run.made.get("backbone", run.recipe.backbone)} for run in runs}):
        warnings.append(
            f"not the same network ({apart}): where the recipe's weights cannot be had, another takes its place."
        )
    return warnings


def _held_out(run: Run) -> dict:
    """What decides on the validation clips: the recipe's settings and, once it is recorded, their number."""
    names = ["corpus", "speakers", "takes", "split", "fold"]
    if run.recipe.split != "published":  # that one is not drawn
        names += ["folds", "seed"]
    return {name: str(getattr(run.recipe, name)) for name in names} | {"clips": run.made.get("clips_validation")}


def _values(facts: dict[str, dict]) -> str:
    """The facts that differ between runs: "split: random, speaker; seed: 0, 1"."""
    table = pd.DataFrame(facts)
    rows = table[differ(table)].iterrows()
    return "; ".join(f"{name}: {', '.join(map(str, row.dropna().unique()))}" for name, row in rows)


def draw_curves(runs: dict[str, tuple[pd.DataFrame, pd.DataFrame]], label: str) -> Figure:
    """Four charts with a line for each run: training loss, and validation loss, accuracy and ROC-AUC error.

    runs: {name: (steps, history)}, tables as `training.train` writes them, of one epoch or more. `label` names the corpus.
    """
    fig, axes = figure(8, 6, 2, 2, dpi=150)
    training, *validation = axes.flat
    # Rounded, so that a mean of ten areas that are all 1 counts as no error.
    errors = [(1 - history["roc_auc"]).round(12) for _, history in runs.values()]
    for i, ((name, (steps, history)), error) in enumerate(zip(runs.items(), errors, strict=True)):
        look = {"color": COLOURS[i % 7], "linestyle": STYLES[i % 6], "linewidth": 1.5, "zorder": 3}
        smooth = steps["loss"].rolling(max(1, len(steps) // 20), center=True, min_periods=1).median()
        training.plot(steps["step"], steps["loss"], color=COLOURS[i % 7], linewidth=0.5, alpha=0.2)
        training.plot(steps["step"], smooth, **look)
        for ax, values in zip(validation, (history["loss"], history["accuracy"] * 100, error), strict=True):
            (line,) = ax.plot(history["epoch"], values, marker=MARKERS[i % 6], markersize=4.5, **look)
            ax.set_xlabel("epoch")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        line.set_label(name)
    training.set(title="training loss of each batch, and its running median", xlabel="step")
    for ax, what in zip(validation, ("loss", "accuracy in per cent", "ROC-AUC error (1 - ROC-AUC)"), strict=True):
        ax.set_title(f"validation {what}")
    logarithmic, last, known = [training, validation[0], validation[2]], validation[2], pd.concat(errors)
    if (known == 0).any():  # a logarithm would drop these points
        logarithmic.remove(last)
        last.set_yscale("symlog", linthresh=known[known > 0].min() if (known > 0).any() else 0.001)
        last.set_ylim(0, None)
        plt.setp(last.get_lines(), clip_on=False)  # points on the axis are shown whole
        last.yaxis.set_major_formatter("{x:g}")
    for ax in logarithmic:
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        if high < 1000 * low:  # beyond three powers of ten, these are enough
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
    # Names can be long paths: then one a line.
    fig.legend(loc="outside lower center", ncols=max(1, min(3, 90 // (max(map(len, runs)) + 8))), handlelength=4)
    fig.suptitle(label, fontsize=10)
    ends = pd.DataFrame([history.iloc[-1].rename(name) for name, (_, history) in runs.items()])
    best = [
        f"{what} {best:{form}} by {' and '.join(ends.index[ends[column] == best])}"
        for column, best, what, form in (
            ("loss", ends["loss"].min(), "validation loss", ".4f"),
            ("accuracy", ends["accuracy"].max(), "accuracy", ".1%"),
            ("roc_auc", ends["roc_auc"].max(), "ROC-AUC", ".5f"),
        )
        if pd.notna(best)
    ]
    alt = (
        f"{label}: four charts of training loss, and validation loss, accuracy and ROC-AUC error, with a line for each "
        f"run: {', '.join(runs)}. Best last epochs: {'; '.join(best)}."
    )
    caption = "Each line is one run: the lower its losses and the higher its accuracy, the better it learned."
    return describe(fig, alt, caption)

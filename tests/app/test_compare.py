"""Runs side by side: what differs, the scores, what to beware of, and a figure that can be told apart."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from spokendigits import training
from spokendigits.app.compare import cautions, draw_curves, find_runs, made_by, report, scores, settings
from spokendigits.clips import make_clips
from spokendigits.errors import CourseError
from spokendigits.files import read_json, runs_folder, write_json
from spokendigits.splits import split

SEED = "the seed experiment"


@pytest.fixture
def written(recipe):
    """Writes what a finished training leaves, in no time: `columns` gives one column of history.csv or several."""

    def write(name, changes=None, made=None, **columns):
        folder = runs_folder() / name
        columns = {"roc_auc": [0.8, 0.9], **columns}
        epochs = range(1, len(columns["roc_auc"]) + 1)
        constant = {"loss": 0.5, "accuracy": 0.5, "log_loss": 0.5, "seconds": 2.0}
        folder.mkdir(parents=True)
        pd.DataFrame({"epoch": epochs, **constant, **columns}).to_csv(folder / "history.csv", index=False)
        pd.DataFrame({"step": range(8), "loss": np.linspace(0.7, 0.1, 8)}).to_csv(folder / "steps.csv", index=False)
        facts = {"recipe": recipe.but(**(changes or {})).to_dict(), "corpus": "Test tones", "clips_train": 100}
        facts |= {"clips_validation": 36, "weights": "none", "seconds": 4.0, **(made or {})}
        write_json(folder / "run.json", facts)
        return folder

    return write


def text_of(table):
    return {key: list(row) for key, row in table.iterrows()}


@pytest.mark.slow
def test_trainings_of_a_course_run_and_one_that_was_stopped(tones, recipe, monkeypatch):
    clips = make_clips(tones, recipe, progress=False)

    def train(name, **changes):
        changed = recipe.but(**changes)
        parts = split(tones, changed.split)
        training.train(changed, tones, clips, parts, runs_folder() / name, progress=False)
        return runs_folder() / name

    random, speaker = train("course/random"), train("course/speaker", split="speaker", learning_rate=0.003)
    text = report(["course"])
    runs = find_runs(["course"])
    assert [run.name for run in runs] == ["course/random", "course/speaker"]
    assert text_of(settings(runs)) == {"learning_rate": ["0.001", "0.003"], "split": ["random", "speaker"]}
    table = scores(runs)
    for folder, run in ((random, runs[0]), (speaker, runs[1])):
        history, made = pd.read_csv(folder / "history.csv"), read_json(folder / "run.json")
        last = table.loc[run.name].iloc[0]
        assert last["epoch"] == "2 of 2" and last["accuracy"] == history["accuracy"].iloc[-1]
        assert last["seconds"] == pytest.approx(made["seconds"])
        assert last["clips/s"] == pytest.approx(2 * made["clips_epoch"] / made["seconds"])
    assert "corpus Test tones; " in text and "split" in text and "n_mels" not in text
    assert "warning: not validated on the same clips (split: random, speaker; clips: 36, 30)" in text
    picture = runs_folder() / "compare.png"
    assert f"figure: {picture}" in text and picture.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in runs_folder().iterdir() if path.is_file()] == ["compare.png"]

    rate = training.learning_rate

    def stop(step, steps, recipe):  # as Ctrl-C would, after the first epoch
        if step == steps // 2:
            raise KeyboardInterrupt
        return rate(step, steps, recipe)

    monkeypatch.setattr(training, "learning_rate", stop)
    with pytest.raises(KeyboardInterrupt):
        train("stopped")
    before = {path: path.read_bytes() for path in (runs_folder() / "stopped").rglob("*") if path.is_file()}
    text = report(["course/random", "stopped"])
    assert "stopped (unfinished, epoch 1 of 2)" in text and "\nTest tones: four charts" in text
    row = scores(find_runs(["course/random", "stopped"])).loc["stopped"].iloc[0]
    assert row["epoch"] == "1 of 2" and np.isnan(row["clips/s"])
    assert made_by(find_runs(["stopped"])).loc["weights", "stopped"] == "none"
    # The same recipe and seed: its one epoch is the first of the whole run.
    assert row["loss"] == pytest.approx(pd.read_csv(random / "history.csv")["loss"].iloc[0])
    assert "not validated" not in text
    assert {path: path.read_bytes() for path in (runs_folder() / "stopped").rglob("*") if path.is_file()} == before


def test_a_training_without_an_epoch_and_one_alone(written, recipe):
    write_json(runs_folder() / "begun" / "run.json", {"recipe": recipe.to_dict(), "clips": "tones"})
    with pytest.raises(CourseError, match="no epoch is done yet in begun"):
        report(["begun"])
    written("whole")
    text = report(["begun", "whole"])
    assert "0 of 2" in text and "for each run: whole." in text
    table = settings(find_runs(["whole"]))
    assert list(table.columns) == ["whole", SEED]
    assert list(table.loc["n_mels"]) == ["32", "128"] and "loss" not in table.index
    assert "corpus Test tones" in report(["whole"])


def test_each_training_once_by_any_of_its_names(written, tmp_path, monkeypatch):
    written("course/random")
    shutil.copytree(runs_folder() / "course" / "random", tmp_path / "elsewhere" / "copy")
    monkeypatch.chdir(tmp_path)
    names = ["course", "course/random", str(runs_folder() / "course" / "random"), "elsewhere/copy", "./elsewhere"]
    assert [run.name for run in find_runs(names)] == ["course/random", "elsewhere/copy"]
    monkeypatch.chdir(runs_folder().parent)
    assert [run.name for run in find_runs(["runs/course/random", "runs/course"])] == ["course/random"]


def test_a_wrong_name_is_told_where_it_was_looked_for(written):
    with pytest.raises(CourseError, match=r"no run 'fats'.*none at all in .*runs"):
        report(["fats"])
    written("fast/random")
    (runs_folder() / "notes").mkdir()
    with pytest.raises(CourseError) as caught:
        report(["fast", "fast/randon"])
    message = str(caught.value)
    assert str(runs_folder()) in message and "'fast/randon'. Did you mean 'fast/random'?" in message
    assert message.endswith("Known: fast, fast/random.") and "\n" not in message
    assert not (runs_folder() / "compare.png").exists()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("run.json", '{"recipe": {'),
        ("run.json", '{"seconds": 1.0}'),
        ("run.json", '{"seconds": 1.0, "recipe": {"flux": 1}}'),
        ("steps.csv", None),
        ("steps.csv", "step,loss\n0,none at all\n"),
        ("history.csv", ""),
        ("history.csv", "epoch,loss\n1,0.5\n"),
    ],
)
def test_a_broken_folder_is_named(file, content, written):
    broken = written("broken") / file
    broken.unlink() if content is None else broken.write_text(content)
    written("whole")
    with pytest.raises(CourseError, match=r"broken: not readable as a training run \(.+\)") as caught:
        report(["whole", "broken"])
    assert "\n" not in str(caught.value)


def test_only_what_differs_is_in_the_tables(written):
    made = read_json(written("old") / "run.json")
    del made["recipe"]["dropout"]
    write_json(runs_folder() / "old" / "run.json", made)
    written("a", made={"device": "CPU, 2 cores", "versions": {"torch": "2.6.0", "timm": "1.0.15"}})
    written("b", made={"device": "NVIDIA H100", "versions": {"torch": "2.7.0", "timm": "1.0.15"}})
    written("other", {"dropout": 0.5})
    assert settings(find_runs(["old", "a"])).empty, "an older run takes the defaults of settings that it lacks"
    assert text_of(settings(find_runs(["old", "other"]))) == {"dropout": ["0.0", "0.5"]}
    assert {"device", "torch", "timm"} <= set(made_by(find_runs(["a", "b"])).index)
    text = report(["a", "b"])
    assert "NVIDIA H100" in text and "2.6.0" in text and "timm" not in text
    assert "the same in all that record it: corpus Test tones;" in text


@pytest.mark.parametrize(("metric", "best"), [("roc_auc", 2), ("log_loss", 1), ("accuracy", 3)])
def test_the_best_epoch_follows_the_recipes_metric(metric, best, written):
    columns = {"roc_auc": [0.8, 0.9, 0.85], "log_loss": [0.3, 0.4, 0.5], "accuracy": [0.5, 0.6, 0.7]}
    written("run", {"metric": metric, "epochs": 3}, **columns)
    table = scores(find_runs(["run"]))
    assert table["epoch"].iloc[0] == "3 of 3"
    if best == 3:
        assert list(table.index) == [("run", "last, best")]
    else:
        assert list(table.index) == [("run", "last"), ("run", "best")]
        assert table["epoch"].iloc[1] == f"{best} of 3" and table[metric].iloc[1] == columns[metric][best - 1]


def test_a_score_that_is_unknown_has_no_best_epoch(written):
    written("run", roc_auc=[np.nan, np.nan])
    assert list(scores(find_runs(["run"])).index) == [("run", "last")]
    assert "ROC-AUC nan" not in report(["run"])


@pytest.mark.parametrize(
    ("changes", "made", "warned"),
    [
        ({"corpus": "fsdd"}, {}, "(corpus: synthetic, fsdd)"),
        ({"speakers": 5}, {}, "(speakers: 20, 5)"),
        ({"fold": 1}, {}, "(fold: 4, 1)"),
        ({"seed": 7}, {}, "(seed: 0, 7)"),
        ({}, {"clips_validation": 40}, "(clips: 36, 40)"),
        ({"loss": "cross_entropy"}, {}, "not the same kind of loss (loss: bce, cross_entropy); compare log_loss"),
        ({}, {"backbone": "tf_efficientnet_lite0"}, "not the same network (backbone: test_resnet.r160_in1k, tf_"),
        ({"n_mels": 64, "learning_rate": 0.1}, {}, None),
    ],
)
def test_what_spoils_a_comparison_is_called_out(changes, made, warned, written):
    written("a")
    written("b", changes, made)
    assert [warned in caution for caution in cautions(find_runs(["a", "b"]))] == ([True] if warned else [])


def test_published_folds_do_not_hang_on_the_seed(written):
    written("a", {"split": "published"})
    written("b", {"split": "published", "seed": 3})
    assert cautions(find_runs(["a", "b"])) == []


def test_six_runs_fit_a_terminal_and_a_figure_where_it_is_asked_for(written, tmp_path):
    names = [f"fast-synthetic/a-name-that-is-rather-long-{i}" for i in range(6)]
    for i, name in enumerate(names):
        written(name, {"seed": i, "backbone": "resnet50.a1_in1k"}, {"clips_train": 100 + i}, roc_auc=[0.9, 0.8])
    tables = report(names, tmp_path / "new" / "mine.png").split("warning")[0]
    assert max(map(len, tables.splitlines())) <= 100 and all(name in tables for name in names)
    assert (tmp_path / "new" / "mine.png").stat().st_size > 10_000 and not (runs_folder() / "compare.png").exists()
    with pytest.raises(CourseError, match=r"mine\.pdf is no name for a PNG"):
        report(names, tmp_path / "mine.pdf")
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    for place in ("file/mine.png", "folder.png", f"{'x' * 300}.png"):
        with pytest.raises(CourseError, match=r"\.png cannot be written \(.+\)\. Give --figure another"):
            report(names, tmp_path / place)


def test_a_backend_that_matplotlib_does_not_know_stops_no_figure(written, tmp_path):
    written("one")
    written("two")
    command = [sys.executable, "-m", "spokendigits", "compare", "one", "two", "--figure", str(tmp_path / "mine.png")]
    subprocess.run(command, env=os.environ | {"MPLBACKEND": "nonsense"}, check=True)
    assert (tmp_path / "mine.png").stat().st_size > 10_000


def curves_of(**roc_auc):
    steps = pd.DataFrame({"step": range(20), "loss": np.geomspace(0.7, 0.01, 20)})
    runs = {}
    for name, values in roc_auc.items():
        table = {"epoch": range(1, len(values) + 1), "loss": [0.7, *(1 - np.array(values[1:]))], "accuracy": values}
        runs[name] = steps, pd.DataFrame({**table, "roc_auc": values})
    return draw_curves(runs, "Test tones")


def heights_of(line):
    """Where a line's points lie between the bottom (0) and the top (1) of their chart."""
    ax = line.axes
    return ax.transAxes.inverted().transform(ax.transData.transform(line.get_xydata()))[:, 1]


@pytest.mark.filterwarnings("error:constrained_layout")  # charts pressed to nothing by a point at infinity
@pytest.mark.parametrize("values", [[0.9, 0.99, 1.0], [1.0, 1.0, 1.0], [0.9, 1 - 1e-16, 0.99]])
@pytest.mark.parametrize("others", [{}, {"other": [0.8, 0.9, 0.95]}])
def test_a_perfect_score_stays_in_the_picture(values, others):
    fig = curves_of(perfect=values, **others)
    fig.canvas.draw()
    heights, *more = map(heights_of, fig.axes[3].get_lines())
    assert ((heights > -0.01) & (heights < 1.01)).all()
    assert (heights[np.array(values) > 0.9999] < 0.01).all(), "no error lies on the axis"
    assert all(np.ptp(other) > 0.1 for other in more), "the other run's curve is not squeezed flat"


def test_runs_can_be_told_apart_without_colour_and_without_sight():
    fig = curves_of(**{f"run {i}": [0.8, 0.9] for i in range(6)})
    lines = fig.axes[1].get_lines()
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 6
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 6
    assert [text.get_text() for text in fig.legends[0].get_texts()] == [f"run {i}" for i in range(6)]
    shown = curves_of(first=[0.99, 0.9], second=[0.5, 0.95], third=[0.5, 0.95])._repr_mimebundle_()["text/plain"]
    assert shown.startswith("Test tones: four charts")
    assert "validation loss 0.0500 by second and third; accuracy 95.0% by second and third" in shown
    assert "ROC-AUC 0.95000 by second and third." in shown

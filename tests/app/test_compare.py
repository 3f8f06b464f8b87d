"""Runs side by side: what differs, the scores, what to beware of, and a figure that can be told apart."""

import shutil

import numpy as np
import pandas as pd
import pytest

from spokendigits import plots, training
from spokendigits.app.compare import cautions, compare, made_by, read, scores, settings
from spokendigits.clips import make_clips
from spokendigits.errors import CourseError
from spokendigits.files import read_json, runs_folder, write_json
from spokendigits.splits import split


@pytest.fixture
def learn(tones, recipe):
    """Trains a tiny run in a folder under runs/, with some settings changed; `epochs` ends it early, as Ctrl-C would."""
    clips = make_clips(tones, recipe, progress=False)

    def train(name, epochs=None, **changes):
        changed = recipe.but(**changes)
        parts = split(tones, changed.split)
        with pytest.MonkeyPatch.context() as patch:
            if epochs is not None:
                check, last = training.check_finite, epochs * (len(parts.train) // changed.batch_size)

                def stop(loss, step, *rest):
                    if step == last:
                        raise KeyboardInterrupt
                    check(loss, step, *rest)

                patch.setattr(training, "check_finite", stop)
            try:
                training.train(changed, tones, clips, parts, runs_folder() / name, progress=False)
            except KeyboardInterrupt:
                assert epochs is not None
        return runs_folder() / name

    return train


@pytest.fixture
def written(recipe):
    """Writes what a finished training leaves, in no time: `scores` gives one column of history.csv or several."""

    def write(name, changes=None, made=None, **columns):
        folder = runs_folder() / name
        changed = recipe.but(**(changes or {}))
        columns = {"roc_auc": [0.8, 0.9], **columns}
        epochs = range(1, len(columns["roc_auc"]) + 1)
        zero = {name: 0.5 for name in ("loss", "accuracy", "log_loss")}
        folder.mkdir(parents=True)
        pd.DataFrame({"epoch": epochs, **zero, "seconds": 2.0, **columns}).to_csv(folder / "history.csv", index=False)
        pd.DataFrame({"step": range(8), "loss": np.linspace(0.7, 0.1, 8)}).to_csv(folder / "steps.csv", index=False)
        finished = {
            "corpus": "Test tones",
            "clips_train": 100,
            "clips_validation": 36,
            "weights": "none",
            "seconds": 4.0,
        }
        write_json(folder / "run.json", {"recipe": changed.to_dict(), **finished, **(made or {})})
        return folder

    return write


def text_of(table):
    return {key: list(row) for key, row in table.iterrows()}


def test_two_trainings_of_a_course_run(learn):
    random, speaker = learn("course/random"), learn("course/speaker", split="speaker", learning_rate=0.003)
    text = compare(["course"])
    runs = read(["course"])
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
    assert "RANDOM" not in text, "the recipe asked for random weights"
    picture = runs_folder() / "compare.png"
    assert f"figure: {picture}" in text and picture.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in runs_folder().iterdir() if path.is_file()] == ["compare.png"]


def test_an_unfinished_training_is_shown_and_not_touched(learn):
    whole, stopped = learn("whole"), learn("stopped", epochs=1)
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    text = compare(["whole", "stopped"])
    assert "stopped (unfinished, epoch 1 of 2)" in text and "\nTest tones: four charts" in text
    table = scores(read(["whole", "stopped"]))
    row = table.loc["stopped"].iloc[0]
    assert row["epoch"] == "1 of 2" and np.isnan(row["clips/s"])
    # The same recipe and seed: its one epoch is the first of the whole run.
    assert row["loss"] == pytest.approx(pd.read_csv(whole / "history.csv")["loss"].iloc[0])
    assert "not validated" not in text
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before


def test_a_training_without_an_epoch(written, recipe):
    write_json(runs_folder() / "begun" / "run.json", {"recipe": recipe.to_dict(), "clips": "tones"})
    with pytest.raises(CourseError, match="no epoch is done yet in begun"):
        compare(["begun"])
    written("whole")
    text = compare(["begun", "whole"])
    assert "0 of 2" in text and "for each run: whole." in text


def test_one_run_stands_beside_the_seed_experiment(written):
    written("one")
    table = settings(read(["one"]))
    assert list(table.columns) == ["one", "the seed experiment"]
    assert list(table.loc["n_mels"]) == ["32", "128"] and "loss" not in table.index
    assert "corpus Test tones" in compare(["one"])


def test_each_training_once_by_any_of_its_names(written, tmp_path, monkeypatch):
    written("course/random")
    shutil.copytree(runs_folder() / "course" / "random", tmp_path / "elsewhere" / "copy")
    monkeypatch.chdir(tmp_path)
    names = ["course", "course/random", str(runs_folder() / "course" / "random"), "elsewhere/copy", "./elsewhere"]
    assert [run.name for run in read(names)] == ["course/random", "elsewhere/copy"]
    monkeypatch.chdir(runs_folder().parent)
    assert [run.name for run in read(["runs/course/random", "runs/course"])] == ["course/random"]


def test_a_wrong_name_is_told_where_it_was_looked_for(written):
    with pytest.raises(CourseError, match=r"no run 'fats'.*none at all in .*runs"):
        compare(["fats"])
    written("fast/random")
    (runs_folder() / "notes").mkdir()
    with pytest.raises(CourseError) as caught:
        compare(["fast", "fast/randon"])
    message = str(caught.value)
    assert str(runs_folder()) in message and "'fast/randon'. Did you mean 'fast/random'?" in message
    assert message.endswith("Known: fast, fast/random.") and "\n" not in message
    assert not (runs_folder() / "compare.png").exists()


def cut(folder):
    (folder / "run.json").write_text('{"recipe": {')


def no_recipe(folder):
    write_json(folder / "run.json", {"seconds": 1.0})


def later_setting(folder):
    made = read_json(folder / "run.json")
    write_json(folder / "run.json", {**made, "recipe": {**made["recipe"], "flux": 1}})


def no_steps(folder):
    (folder / "steps.csv").unlink()


def empty_history(folder):
    (folder / "history.csv").write_text("")


def other_columns(folder):
    (folder / "history.csv").write_text("epoch,loss\n1,0.5\n")


def no_number(folder):
    (folder / "steps.csv").write_text("step,loss\n0,none at all\n")


@pytest.mark.parametrize("harm", [cut, no_recipe, later_setting, no_steps, empty_history, other_columns, no_number])
def test_a_broken_folder_is_named(harm, written):
    harm(written("broken"))
    written("whole")
    with pytest.raises(CourseError, match=r"broken: not readable as a training run \(.+\)") as caught:
        compare(["whole", "broken"])
    assert "\n" not in str(caught.value)


def test_an_older_run_takes_the_defaults_of_settings_it_lacks(written):
    made = read_json(written("old") / "run.json")
    del made["recipe"]["dropout"]
    write_json(runs_folder() / "old" / "run.json", made)
    written("new")
    assert settings(read(["old", "new"])).empty
    written("newer", {"dropout": 0.5})
    assert text_of(settings(read(["old", "newer"]))) == {"dropout": ["0.0", "0.5"]}


def test_only_facts_that_differ_are_in_the_table(written):
    written("a", made={"device": "CPU, 2 cores", "versions": {"torch": "2.6.0", "timm": "1.0.15"}})
    written("b", made={"device": "NVIDIA H100", "versions": {"torch": "2.7.0", "timm": "1.0.15"}})
    assert {"device", "torch", "timm"} <= set(made_by(read(["a", "b"])).index)
    text = compare(["a", "b"])
    assert "NVIDIA H100" in text and "2.6.0" in text and "timm" not in text
    assert "the same in all that record it: corpus Test tones;" in text


@pytest.mark.parametrize(("metric", "best"), [("roc_auc", "2 of 3"), ("log_loss", "1 of 3"), ("accuracy", None)])
def test_the_best_epoch_follows_the_recipes_metric(metric, best, written):
    columns = {"roc_auc": [0.8, 0.9, 0.85], "log_loss": [0.3, 0.4, 0.5], "accuracy": [0.5, 0.6, 0.7]}
    written("run", {"metric": metric, "epochs": 3}, **columns)
    table = scores(read(["run"]))
    assert table.loc[("run", slice(None)), "epoch"].iloc[0] == "3 of 3"
    if best is None:
        assert list(table.index) == [("run", "last, best")]
    else:
        assert list(table.index) == [("run", "last"), ("run", "best")]
        epoch = int(best[0]) - 1
        assert table["epoch"].iloc[1] == best and table[metric].iloc[1] == columns[metric][epoch]


def test_a_score_that_is_unknown_has_no_best_epoch(written):
    written("run", roc_auc=[np.nan, np.nan])
    assert list(scores(read(["run"])).index) == [("run", "last")]
    assert "ROC-AUC nan" not in compare(["run"])


def test_weights_that_became_random_are_called_out(written):
    written("asked", {"weights": "auto"})
    written("pretrained", {"weights": "auto"}, {"weights": "imagenet"})
    written("random")
    (caution,) = cautions(read(["asked", "pretrained", "random"]))
    assert caution.startswith("started from RANDOM weights") and caution.endswith(": asked.")


@pytest.mark.parametrize(
    ("changes", "made", "warned"),
    [
        ({"corpus": "fsdd"}, {}, "corpus: synthetic, fsdd"),
        ({"speakers": 5}, {}, "speakers: 20, 5"),
        ({"fold": 1}, {}, "fold: 4, 1"),
        ({"seed": 7}, {}, "seed: 0, 7"),
        ({}, {"clips_validation": 40}, "clips: 36, 40"),
        ({"n_mels": 64, "learning_rate": 0.1}, {}, None),
    ],
)
def test_other_validation_clips_are_called_out(changes, made, warned, written):
    written("a")
    written("b", changes, made)
    found = cautions(read(["a", "b"]))
    assert [f"({warned})" in caution for caution in found] == ([True] if warned else [])


def test_published_folds_do_not_hang_on_the_seed(written):
    written("a", {"split": "published"})
    written("b", {"split": "published", "seed": 3})
    assert cautions(read(["a", "b"])) == []


def test_losses_of_two_kinds_are_called_out(written):
    written("a")
    written("b", {"loss": "cross_entropy"})
    (caution,) = cautions(read(["a", "b"]))
    assert "bce, cross_entropy" in caution and "log_loss" in caution


def test_six_runs_fit_a_terminal(written):
    names = [f"fast-synthetic/a-name-that-is-rather-long-{i}" for i in range(6)]
    for i, name in enumerate(names):
        written(name, {"seed": i, "backbone": "resnet50.a1_in1k"}, {"clips_train": 100 + i}, roc_auc=[0.9, 0.8])
    tables = compare(names).split("warning")[0]
    assert max(map(len, tables.splitlines())) <= 100 and all(name in tables for name in names)


def test_the_figure_goes_where_it_is_asked_to(written, tmp_path):
    written("run")
    compare(["run"], tmp_path / "new" / "mine.png")
    assert (tmp_path / "new" / "mine.png").stat().st_size > 10_000 and not (runs_folder() / "compare.png").exists()
    with pytest.raises(CourseError, match=r"mine\.pdf is no name for a PNG"):
        compare(["run"], tmp_path / "mine.pdf")


def curves_of(**roc_auc):
    steps = pd.DataFrame({"step": range(20), "loss": np.geomspace(0.7, 0.01, 20)})
    runs = {}
    for name, values in roc_auc.items():
        epochs = range(1, len(values) + 1)
        table = {"epoch": epochs, "loss": [0.7, *(1 - np.array(values[1:]))], "accuracy": values, "roc_auc": values}
        runs[name] = steps, pd.DataFrame(table)
    return plots.curves_of_runs(runs, "Test tones")


def heights_of(line):
    """Where a line's points lie between the bottom (0) and the top (1) of their chart."""
    ax = line.axes
    return ax.transAxes.inverted().transform(ax.transData.transform(line.get_xydata()))[:, 1]


@pytest.mark.filterwarnings("error:constrained_layout")  # charts pressed to nothing by a point at infinity
@pytest.mark.parametrize("scores", [[0.9, 0.99, 1.0], [1.0, 1.0, 1.0], [0.9, 1 - 1e-16, 0.99]])
@pytest.mark.parametrize("others", [{}, {"other": [0.8, 0.9, 0.95]}])
def test_a_perfect_score_stays_in_the_picture(scores, others):
    fig = curves_of(perfect=scores, **others)
    fig.canvas.draw()
    heights, *more = map(heights_of, fig.axes[3].get_lines())
    assert ((heights > -0.01) & (heights < 1.01)).all()
    assert (heights[np.array(scores) > 0.9999] < 0.01).all(), "no error lies on the axis"
    assert all(np.ptp(other) > 0.1 for other in more), "the other run's curve is not squeezed flat"


def test_runs_can_be_told_apart_without_colour():
    fig = curves_of(**{f"run {i}": [0.8, 0.9] for i in range(6)})
    lines = fig.axes[1].get_lines()
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 6
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 6
    assert [text.get_text() for text in fig.legends[0].get_texts()] == [f"run {i}" for i in range(6)]


def test_the_alt_text_says_which_run_ends_best():
    shown = curves_of(first=[0.99, 0.9], second=[0.5, 0.95], third=[0.5, 0.95])._repr_mimebundle_()["text/plain"]
    assert shown.startswith("Test tones: four charts")
    assert "validation loss 0.0500 by second and third; accuracy 95.0% by second and third" in shown
    assert "ROC-AUC 0.95000 by second and third." in shown

"""Training: it learns, stops cleanly, goes on where it stopped, and never mixes two experiments."""

import math
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import SafetensorError

from spokendigits import devices, runs, training
from spokendigits.app import cli, product_yaml
from spokendigits.classifier import create
from spokendigits.clips import make_clips
from spokendigits.corpora import fsdd
from spokendigits.errors import CourseError
from spokendigits.evaluation import predict
from spokendigits.files import read_json, write_json
from spokendigits.frontend import LogMel
from spokendigits.intervals import accuracy
from spokendigits.pretrained import PHOTOGRAPHS
from spokendigits.runs import finished
from spokendigits.splits import split
from spokendigits.training import learning_rate, train, train_or_load


def test_half_precision_is_for_networks_that_it_makes_faster(recipe, monkeypatch):
    """On a CPU some convolutions take twice as long in it; of resnet50's stand-in nothing is lost."""
    monkeypatch.setattr(devices, "has_bf16", lambda device: True)
    found = [devices.precision(recipe.but(backbone=name), torch.device("cpu")) for name in ("resnet50", PHOTOGRAPHS)]
    assert found == ["bf16", "no"]
    assert devices.precision(recipe.but(backbone=PHOTOGRAPHS), torch.device("cuda")) == "bf16"


@pytest.fixture
def ready(tones, recipe):
    return tones, make_clips(tones, recipe, progress=False), split(tones, "speaker")


def state(classifier):
    return classifier.state_dict()


def same(a, b) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_to_tell_tones_apart_and_leaves_its_files(ready, recipe, tmp_path):
    corpus, clips, parts = ready
    recipe = recipe.but(epochs=8, learning_rate=0.003, split="speaker")
    classifier = train(recipe, corpus, clips, parts, tmp_path / "run", progress=False)
    table = predict(classifier, clips, corpus, parts.validation, progress=False)
    assert accuracy(table) > 0.6, "tones of a new 'speaker' are easy"
    steps, history = pd.read_csv(tmp_path / "run" / "steps.csv"), pd.read_csv(tmp_path / "run" / "history.csv")
    batches = len(parts.train) // recipe.batch_size
    assert list(steps["step"]) == list(range(8 * batches)) and len(history) == 8
    assert steps["loss"].iloc[-10:].mean() < 0.5 * steps["loss"].iloc[:5].mean()
    assert history["accuracy"].iloc[-1] == accuracy(table), "the last epoch is what is kept"
    run = read_json(tmp_path / "run" / "run.json")
    assert run["weights"] == "none" and run["clips_train"] == len(parts.train) and run["versions"]["torch"]
    assert product_yaml.read_recipe(tmp_path / "run" / "recipe.yaml")[0] == recipe
    assert not (tmp_path / "run" / "checkpoint").exists() and finished(tmp_path / "run")


@pytest.mark.slow
def test_real_speech_is_learned(fsdd_root, recipe, tmp_path):
    """One speaker, six takes to learn from: enough to see that labels, pictures and loss belong together."""
    whole = fsdd.read(fsdd_root)
    corpus = type(whole)(**{**vars(whole), "table": whole.table.query("speaker == 'jackson' and take < 30")})
    recipe = recipe.but(epochs=12, learning_rate=0.004)
    clips = make_clips(corpus, recipe, progress=False)
    parts = split(corpus, "random")
    classifier = train(recipe, corpus, clips, parts, tmp_path / "run", progress=False)
    assert accuracy(predict(classifier, clips, corpus, parts.validation, progress=False)) > 0.5


def test_the_same_seed_gives_the_same_weights(ready, recipe, tmp_path):
    corpus, clips, parts = ready
    first, again = (train(recipe, corpus, clips, parts, tmp_path / name, progress=False) for name in "ab")
    assert same(state(first), state(again))
    other = train(recipe.but(seed=1), corpus, clips, parts, tmp_path / "c", progress=False)
    assert not same(state(first), state(other))


@pytest.mark.parametrize("settings", [{}, {"mix_probability": 0.5, "dropout": 0.2, "grad_accumulation": 2}])
def test_a_stopped_run_goes_on_and_ends_with_the_same_weights(settings, ready, recipe, tmp_path, monkeypatch):
    corpus, clips, parts = ready
    recipe = recipe.but(epochs=3, **settings)
    whole = train(recipe, corpus, clips, parts, tmp_path / "whole", progress=False)

    def stop_in_the_third_epoch(step, steps, recipe):
        if step == 2 * (len(parts.train) // recipe.batch_size) + 3:
            raise KeyboardInterrupt
        return learning_rate(step, steps, recipe)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "learning_rate", stop_in_the_third_epoch)
        train(recipe, corpus, clips, parts, tmp_path / "stopped", progress=False)
    assert not finished(tmp_path / "stopped")
    resumed = train(recipe, corpus, clips, parts, tmp_path / "stopped", progress=False)
    assert same(state(whole), state(resumed))
    curves = [pd.read_csv(tmp_path / name / "steps.csv") for name in ("whole", "stopped")]
    pd.testing.assert_frame_equal(*curves)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_numbers(fsdd_root, own_home, monkeypatch):
    """Killed, not asked to stop: nothing gets the chance to tidy up."""
    settings = ["backbone=test_resnet.r160_in1k", "weights=none", "n_mels=32", "takes=3", "epochs=4", "batch_size=16"]
    command = ["train", "--corpus", "fsdd", *(f"--set={one}" for one in settings), "--name"]
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(fsdd_root.parent))
    assert cli.main([*command, "whole"]) == 0
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    killed = subprocess.Popen([sys.executable, "-m", "spokendigits", *command, "killed"], **quiet)
    state = own_home / "runs" / "killed" / "checkpoint" / "state.json"
    while not state.is_file() and killed.poll() is None:
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL, "it had ended before it could be killed"
    done = len(read_json(state)["history"])
    assert 1 <= done < 4 and not (own_home / "runs" / "killed" / "history.csv").exists()
    assert cli.main([*command, "killed"]) == 0
    whole, again = (own_home / "runs" / name for name in ("whole", "killed"))
    assert read_json(whole / "run.json")["sha256"] == read_json(again / "run.json")["sha256"]
    for name in ("steps.csv", "predictions.csv"):
        assert (whole / name).read_bytes() == (again / name).read_bytes()


def memory_for(batch: int):
    """Stands in for a GPU that a larger batch would not fit into: fails as torch does there."""
    forward = LogMel.forward

    def limited(self, waveform, augment=None):
        if len(waveform) > batch and not torch.is_inference_mode_enabled():  # predicting needs less
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(self, waveform, augment)

    return limited


def test_out_of_memory_says_what_would_fit(ready, recipe, tmp_path, monkeypatch):
    corpus, clips, parts = ready
    monkeypatch.setattr(LogMel, "forward", memory_for(3))
    with pytest.raises(CourseError, match=r"batch of 8 clips does not fit.*2 at once would fit.*--find-batch-size"):
        train(recipe, corpus, clips, parts, tmp_path / "run", progress=False)
    monkeypatch.setattr(LogMel, "forward", memory_for(0))
    with pytest.raises(CourseError, match="not even one clip fits"):
        train(recipe, corpus, clips, parts, tmp_path / "run", progress=False)


def test_another_error_is_not_taken_for_memory(ready, recipe, tmp_path, monkeypatch):
    corpus, clips, parts = ready
    monkeypatch.setattr(training, "losses", lambda *args: 1 / torch.zeros(0).max())
    with pytest.raises(RuntimeError, match="max"):
        train(recipe, corpus, clips, parts, tmp_path / "run", progress=False)


def test_a_batch_in_parts_trains_as_a_whole_one(ready, recipe, tmp_path, monkeypatch):
    """With layer norm, which looks at one clip at a time; in float32, so that only rounding differs."""
    corpus, clips, parts = ready
    recipe = recipe.but(backbone="test_convnext.r160_in1k", mixed_precision=False, gradient_clip=1.0)
    whole = train(recipe, corpus, clips, parts, tmp_path / "whole", progress=False)
    monkeypatch.setattr(LogMel, "forward", memory_for(3))
    small = train(recipe, corpus, clips, parts, tmp_path / "parts", progress=False, find_batch_size=True)
    curves = [pd.read_csv(tmp_path / name / "steps.csv")["loss"] for name in ("whole", "parts")]
    assert len(curves[0]) == len(curves[1]) and np.allclose(*curves, rtol=1e-3)
    for name, value in state(whole).items():
        assert torch.allclose(value, state(small)[name], atol=2e-3), name


def test_tensorboard_follows_the_training(ready, recipe, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    corpus, clips, parts = ready
    train(recipe, corpus, clips, parts, tmp_path / "run", progress=False, trackers=["tensorboard"])
    events = EventAccumulator(str(tmp_path / "run" / "spokendigits")).Reload()
    steps, history = pd.read_csv(tmp_path / "run" / "steps.csv"), pd.read_csv(tmp_path / "run" / "history.csv")
    assert np.allclose([event.value for event in events.Scalars("train/loss")], steps["loss"])
    assert np.allclose([event.value for event in events.Scalars("validation/accuracy")], history["accuracy"])


def test_mlflow_follows_the_training(ready, recipe, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    corpus, clips, parts = ready
    train(recipe, corpus, clips, parts, tmp_path / "run", progress=False, trackers=["mlflow"])
    (found,) = mlflow.search_runs(experiment_names=["spokendigits"], output_format="list")
    assert found.data.params["batch_size"] == "8"
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert found.data.metrics["validation/accuracy"] == pytest.approx(history["accuracy"].iloc[-1])


def test_a_tracker_that_is_not_there_says_so(ready, recipe, tmp_path, monkeypatch):
    corpus, clips, parts = ready
    with pytest.raises(CourseError, match=r"unknown tracker 'tensorbord'\. Did you mean 'tensorboard'"):
        train(recipe, corpus, clips, parts, tmp_path / "run", progress=False, trackers=["tensorbord"])
    monkeypatch.setattr(runs, "find_spec", lambda name: None)
    with pytest.raises(CourseError, match="pip install mlflow"):
        train(recipe, corpus, clips, parts, tmp_path / "run", progress=False, trackers=["mlflow"])
    assert not (tmp_path / "run").exists()


def test_a_run_starts_from_the_weights_of_another(ready, recipe, tmp_path):
    """As the pages say to pretrain on the synthetic corpus: train a run there, and give its file as `weights`."""
    train(recipe.but(seed=7), *ready, tmp_path / "first", progress=False)
    weights = str(tmp_path / "first" / "model.safetensors")
    started = create(recipe.but(weights=weights)).state_dict()
    second = train(
        recipe.but(weights=weights, epochs=1, learning_rate=1e-9), *ready, tmp_path / "second", progress=False
    )
    for name, value in second.backbone.named_parameters():
        assert torch.allclose(value, started[f"backbone.{name}"], atol=1e-6), name
    assert read_json(tmp_path / "second" / "run.json")["weights"].startswith("model.safetensors ")


def test_a_loss_that_is_no_number_stops_with_a_way_out(ready, recipe, tmp_path, monkeypatch):
    corpus, clips, parts = ready
    monkeypatch.setattr(training, "losses", lambda logits, target, kind: logits.sum(dim=1) * math.nan)
    with pytest.raises(CourseError, match=r"loss became nan in step 0.*learning rate"):
        train(recipe, corpus, clips, parts, tmp_path / "run", progress=False)
    assert not finished(tmp_path / "run")


def test_a_finished_run_is_loaded_not_trained(ready, recipe, tmp_path, monkeypatch):
    corpus, clips, parts = ready
    first = train_or_load(recipe, corpus, clips, parts, tmp_path / "run", progress=False)
    monkeypatch.setattr(training, "train", lambda *args, **options: pytest.fail("trained again"))
    assert same(state(first), state(train_or_load(recipe, corpus, clips, parts, tmp_path / "run", progress=False)))


def test_a_folder_with_another_experiment_is_left_alone(ready, recipe, tmp_path):
    corpus, clips, parts = ready
    train(recipe, corpus, clips, parts, tmp_path / "run", progress=False)
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    with pytest.raises(CourseError, match=r"epochs: 2 there, 3 here"):
        train_or_load(recipe.but(epochs=3), corpus, clips, parts, tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not touch")
    with pytest.raises(CourseError, match="no run of this course"):
        train(recipe, corpus, clips, parts, tmp_path / "mine", progress=False)
    write_json(tmp_path / "run" / "run.json", {"other": 1})
    for begin in (train, train_or_load):
        with pytest.raises(CourseError, match=r"run\.json: damaged \(no 'recipe', 'clips' in it\)"):
            begin(recipe, corpus, clips, parts, tmp_path / "run", progress=False)


def test_a_changed_corpus_is_no_finished_run(ready, recipe, tmp_path):
    corpus, clips, parts = ready
    train(recipe, corpus, clips, parts, tmp_path / "run", progress=False)
    run, changed = tmp_path / "run", pytest.raises(CourseError, match="corpus or its split has changed")
    with changed:  # a speaker's name put right
        named = replace(corpus, table=corpus.table.replace({"speaker": {"t5": "t9"}}))
        train_or_load(recipe, named, clips, parts, run, progress=False)
    with changed:
        train_or_load(recipe, corpus, clips, replace(parts, train=parts.train[1:]), run, progress=False)
    corpus.file(0).touch()
    with changed:
        train_or_load(recipe, corpus, make_clips(corpus, recipe, progress=False), parts, run, progress=False)


def test_gradients_are_added_up_alike_in_each_epoch(ready, recipe, tmp_path, monkeypatch):
    moves, step = [], training.Learner.step
    monkeypatch.setattr(training.Learner, "step", lambda *given: moves.append(given[-1]) or step(*given))
    train(recipe.but(grad_accumulation=4), *ready, tmp_path / "run", progress=False)
    epoch = moves[: len(moves) // 2]
    assert len(epoch) % 4, "the last ones of an epoch are fewer"
    assert moves == epoch * 2 and epoch[:4] == [False] * 3 + [True] and epoch[-1]


def test_validation_clips_that_are_no_digits_are_refused_before_training(ready, recipe, tmp_path):
    corpus, clips, parts = ready
    corpus.table.loc[parts.validation[0], "digit"] = -1
    with pytest.raises(CourseError, match="validation clips are no digits"):
        train(recipe, corpus, clips, parts, tmp_path / "run", progress=False)


def test_best_keeps_the_best_epoch_and_last_the_last(ready, recipe, tmp_path, monkeypatch):
    corpus, clips, parts = ready
    scores = iter([0.5, 0.9, 0.1])
    kept = []
    monkeypatch.setattr(
        training, "metrics", lambda table: {"loss": 1.0, "roc_auc": next(scores), "accuracy": 0.0, "log_loss": 0.0}
    )
    save = training.Classifier.save
    monkeypatch.setattr(
        training.Classifier, "save", lambda self, path: (kept.append(path.parent.name), save(self, path))[1]
    )
    train(recipe.but(epochs=3, checkpoint="best"), corpus, clips, parts, tmp_path / "run", progress=False)
    assert kept.count("run") == 2, "the third epoch was worse than the second"


def test_too_few_clips_for_one_batch(ready, recipe, tmp_path):
    corpus, clips, parts = ready
    with pytest.raises(CourseError, match="do not fill one batch"):
        train(recipe.but(batch_size=512), corpus, clips, parts, tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    "wrong", [{"backbone": "resnet5o"}, {"backbone": "vit_tiny_patch16_224"}, {"learning_rate": 1e30}]
)
def test_a_failed_start_uses_no_name_up(wrong, ready, recipe, tmp_path):
    with pytest.raises(CourseError):
        train(recipe.but(**wrong), *ready, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("torch.save", RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")),
        ("spokendigits.classifier.save_file", SafetensorError("I/O error: No space left on device (os error 28)")),
        ("spokendigits.runs.write_table", OSError(28, "No space left on device")),
    ],
)
def test_a_full_disk_is_one_line_and_costs_no_whole_epoch(place, error, ready, recipe, tmp_path, monkeypatch):
    whole, run = train(recipe, *ready, tmp_path / "whole", progress=False), tmp_path / "run"
    library, _, name = place.rpartition(".")
    write = getattr(sys.modules[library], name)

    def full(*given):
        if (run / "checkpoint").is_dir():
            raise error
        return write(*given)

    with monkeypatch.context() as patch, pytest.raises(CourseError, match=r"could not be written \(.+\)\. Make room"):
        patch.setattr(place, full)
        train(recipe, *ready, run, progress=False)
    assert len(read_json(run / "checkpoint" / "state.json")["history"]) == 1 and not list(run.glob(".*"))
    assert same(state(whole), state(train(recipe, *ready, run, progress=False)))


@pytest.mark.parametrize("file", ["state.json", "optimizer.pt", "model.safetensors"])
def test_a_damaged_checkpoint_is_named(file, ready, recipe, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runs, "finish", lambda *given: signal.raise_signal(signal.SIGINT))
        train(recipe, *ready, tmp_path / "run", progress=False)
    damaged = tmp_path / "run" / "checkpoint" / file
    damaged.write_bytes(damaged.read_bytes()[:99])
    with pytest.raises(CourseError, match=r"run/checkpoint.*(damaged|SHA-256)") as caught:
        train(recipe, *ready, tmp_path / "run", progress=False)
    assert "\n" not in str(caught.value)


def test_what_accelerate_is_configured_to_changes_nothing_or_is_refused(ready, recipe, tmp_path, monkeypatch):
    recipe = recipe.but(gradient_clip=1.0)
    plain = train(recipe, *ready, tmp_path / "plain", progress=False)
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR")
    assert same(state(plain), state(train(recipe, *ready, tmp_path / "configured", progress=False)))
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(CourseError, match="DEEPSPEED"):
        train(recipe, *ready, tmp_path / "refused", progress=False)


def test_no_setting_of_the_training_is_forgotten(ready, recipe, tmp_path):
    """Each gives other weights than the recipe without it, and than every other one."""
    changes = [
        {}, {"schedule": "constant"}, {"warmup_epochs": 0.5}, {"weight_decay": 0.9}, {"gradient_clip": 0.001},
        {"grad_accumulation": 2}, {"loss": "cross_entropy"}, {"dropout": 0.5}, {"augment": "mask"}, {"augment": "voice"},
        {"mix_probability": 1.0}, {"mix_probability": 1.0, "mix_concentration": 0.2}, {"normalization": "clip"},
        {"top_db": 20.0}, {"mel_scale": "htk"}, {"pool": "max"}, {"drop_last": False, "batch_size": 7}, {"seed": 1},
    ]  # fmt: skip
    digests = {
        train(recipe.but(epochs=1, **change), *ready, tmp_path / str(number), progress=False).digest(): change
        for number, change in enumerate(changes)
    }
    assert [change for change in changes if change not in digests.values()] == []

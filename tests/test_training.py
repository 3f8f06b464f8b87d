"""Training: it learns, stops cleanly, goes on where it stopped, and never mixes two experiments."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch

from spokendigits import training
from spokendigits.clips import make_clips
from spokendigits.corpora import fsdd
from spokendigits.errors import CourseError
from spokendigits.evaluation import accuracy, predict
from spokendigits.files import read_json
from spokendigits.recipe import Recipe
from spokendigits.splits import split
from spokendigits.training import finished, learning_rate, mix, train, train_or_load


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
    assert Recipe.from_yaml(tmp_path / "run" / "recipe.yaml") == recipe
    assert not (tmp_path / "run" / "checkpoint").exists() and finished(tmp_path / "run")


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

    check, calls = training.check_finite, []

    def stop_in_the_third_epoch(*args):
        calls.append(1)
        if len(calls) == 2 * (len(parts.train) // recipe.batch_size) + 3:
            raise KeyboardInterrupt
        check(*args)

    monkeypatch.setattr(training, "check_finite", stop_in_the_third_epoch)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, corpus, clips, parts, tmp_path / "stopped", progress=False)
    assert not finished(tmp_path / "stopped")
    monkeypatch.setattr(training, "check_finite", check)
    resumed = train(recipe, corpus, clips, parts, tmp_path / "stopped", progress=False)
    assert same(state(whole), state(resumed))
    curves = [pd.read_csv(tmp_path / name / "steps.csv") for name in ("whole", "stopped")]
    pd.testing.assert_frame_equal(*curves)


def test_a_loss_that_is_no_number_stops_with_a_way_out(ready, recipe, tmp_path, monkeypatch):
    corpus, clips, parts = ready
    monkeypatch.setattr(training, "losses", lambda logits, target, kind: logits.sum(dim=1) * math.nan)
    with pytest.raises(CourseError, match=r"loss became nan in step 0.*learning rate"):
        train(recipe, corpus, clips, parts, tmp_path / "run", progress=False)
    assert not finished(tmp_path / "run")


def test_a_finished_run_is_loaded_not_trained(ready, recipe, tmp_path, monkeypatch):
    corpus, clips, parts = ready
    first = train_or_load(recipe, corpus, clips, parts, tmp_path / "run", progress=False)
    monkeypatch.setattr(training, "train", lambda *args: pytest.fail("trained again"))
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


def test_a_changed_corpus_is_no_finished_run(ready, recipe, tmp_path):
    corpus, clips, parts = ready
    train(recipe, corpus, clips, parts, tmp_path / "run", progress=False)
    corpus.file(0).touch()
    with pytest.raises(CourseError, match="corpus has changed"):
        train_or_load(
            recipe, corpus, make_clips(corpus, recipe, progress=False), parts, tmp_path / "run", progress=False
        )


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


def test_the_cosine_starts_at_the_top_and_ends_at_zero():
    recipe = Recipe()
    rates = [learning_rate(step, 100, recipe) for step in range(101)]
    assert rates[0] == 0.001 and rates[50] == pytest.approx(0.0005) and rates[100] == pytest.approx(0)
    assert all(a > b for a, b in itertools.pairwise(rates))
    warm = [learning_rate(step, 100, recipe.but(warmup_epochs=1.0)) for step in range(100)]
    assert warm[0] == pytest.approx(0.001 / 20) and warm[19] == 0.001 and warm[-1] < 1e-5


def test_mix_keeps_the_sum_of_targets():
    audio = torch.randint(-9_000, 9_000, (4, 50), dtype=torch.int16)
    target = torch.eye(10)[[1, 2, 3, 4]]
    mixed, mixed_target = mix(audio, target, Recipe().but(mix_probability=1.0), np.random.default_rng(0))
    assert mixed.shape == audio.shape and torch.allclose(mixed_target.sum(dim=1), torch.ones(4))
    assert ((mixed_target > 0).sum(dim=1) <= 2).all()

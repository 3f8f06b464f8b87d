"""Distillation: a student learns what its teacher says; clips that are no digits; several corpora as one."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from spokendigits import distillation, runs
from spokendigits.clips import make_clips
from spokendigits.corpora.corpus import Corpus, join
from spokendigits.distillation import TEMPERATURE, distilled
from spokendigits.errors import CourseError
from spokendigits.evaluation import predict
from spokendigits.files import read_json
from spokendigits.intervals import accuracy
from spokendigits.losses import digit_score, losses, targets
from spokendigits.splits import Split, split
from spokendigits.training import train, train_or_load

pytestmark = pytest.mark.slow


@pytest.fixture
def ready(tones, recipe):
    return tones, make_clips(tones, recipe, progress=False), split(tones, "speaker")


@pytest.fixture
def teacher(ready, recipe, tmp_path):
    return train(recipe.but(epochs=8, learning_rate=0.003), *ready, tmp_path / "teacher", progress=False)


def moved(corpus: Corpus) -> Corpus:
    """The same clips, each called by the next digit."""
    return replace(corpus, table=corpus.table.assign(digit=(corpus.table["digit"] + 1) % 10))


@pytest.mark.parametrize("kind", ["bce", "cross_entropy"])
def test_the_loss_is_the_labels_and_the_teachers(kind):
    random = torch.Generator().manual_seed(0)
    logits, told = (3 * torch.randn(6, 10, generator=random) for _ in range(2))
    target = targets(torch.arange(6))
    assert torch.allclose(distilled(logits, target, told, kind, share=0.0), losses(logits, target, kind))

    def gradient(given: torch.Tensor, share: float) -> torch.Tensor:
        given = given.clone().requires_grad_()
        return torch.autograd.grad(distilled(given, target, told, kind, share).sum(), given)[0]

    assert gradient(told, 1.0).abs().max() < 1e-6, "who says what the teacher says has nothing more to learn"
    # Downhill leads from the student's answers to the teacher's.
    assert (gradient(logits, 1.0) * (logits - told)).sum() > 0
    # For answers that are nearly alike the gradient hardly depends on the temperature: the square sees to that.
    near = told / 100 + 0.001 * torch.randn(6, 10, generator=random)
    plain = losses(near.clone().requires_grad_(), torch.zeros(6, 10), kind)
    assert plain.shape == (6,) and TEMPERATURE != 1


def test_a_student_believes_its_teacher_more_than_wrong_labels(ready, teacher, recipe, tmp_path, monkeypatch):
    corpus, clips, parts = ready
    monkeypatch.setattr(distillation.distilled, "__defaults__", (0.95,))
    recipe = recipe.but(epochs=8, learning_rate=0.003, seed=1)
    # A corpus sorts its rows, by digit too: the wrongly called clips have another order.
    wrong = moved(corpus)
    given = wrong, make_clips(wrong, recipe, progress=False), split(wrong, "speaker")
    student = train(recipe, *given, tmp_path / "student", progress=False, teacher=teacher)
    said = predict(student, clips, corpus, parts.validation, progress=False)
    assert accuracy(said) > 0.5, "it was told the right digits by its teacher alone"
    alone = train(recipe, *given, tmp_path / "alone", progress=False)
    assert accuracy(predict(alone, clips, corpus, parts.validation, progress=False)) < 0.2


def test_the_teacher_stays_as_it_was_and_is_written_down(ready, teacher, recipe, tmp_path):
    before = teacher.digest()
    train(recipe, *ready, tmp_path / "student", progress=False, teacher=teacher)
    assert teacher.digest() == before
    assert read_json(tmp_path / "student" / "run.json")["teacher"] == f"{teacher.recipe.backbone} {before[:12]}"
    again = train_or_load(recipe, *ready, tmp_path / "student", progress=False, teacher=teacher)
    assert not again.training
    with pytest.raises(CourseError, match="that run had"):
        train_or_load(recipe, *ready, tmp_path / "student", progress=False)


def test_a_stopped_student_ends_with_the_same_weights(ready, teacher, recipe, tmp_path, monkeypatch):
    recipe = recipe.but(epochs=3, augment="noise+mask")
    whole = train(recipe, *ready, tmp_path / "whole", progress=False, teacher=teacher)
    keep = runs.keep_epoch

    def stop(folder, classifier, optimizer, state, *given):
        keep(folder, classifier, optimizer, state, *given)
        if len(state["history"]) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runs, "keep_epoch", stop)
        train(recipe, *ready, tmp_path / "stopped", progress=False, teacher=teacher)
    resumed = train(recipe, *ready, tmp_path / "stopped", progress=False, teacher=teacher)
    assert resumed.digest() == whole.digest()


def test_a_teacher_of_other_pictures_is_refused(ready, teacher, recipe, tmp_path):
    with pytest.raises(CourseError, match="n_mels differ"):
        train(recipe.but(n_mels=40), *ready, tmp_path / "student", progress=False, teacher=teacher)


def test_no_digit_has_no_target_and_the_lowest_score(tones, recipe, tmp_path):
    """Chords of 6 to 9 are called no digits: a network then says no ten times, to those of a new "speaker", too."""
    assert torch.equal(targets(torch.tensor([3, -1])).sum(dim=1), torch.tensor([1.0, 0.0]))
    digit = tones.table["digit"]
    corpus = replace(tones, table=tones.table.assign(digit=digit.where(digit < 6, -1)))
    clips = make_clips(corpus, recipe, progress=False)
    other = corpus.table["speaker"] == "t0"
    validation = np.flatnonzero(other & (corpus.table["digit"] >= 0))
    parts = Split(np.flatnonzero(~other), validation, np.flatnonzero(other & (corpus.table["digit"] < 0)))
    recipe = recipe.but(epochs=8, learning_rate=0.003)
    model = train(recipe, corpus, clips, parts, tmp_path / "run", progress=False)
    with torch.inference_mode():
        said, none = (
            digit_score(model(torch.from_numpy(clips.read(rows))), "bce") for rows in (validation, parts.test)
        )
    assert (said[:, None] > none[None]).float().mean() > 0.8
    with pytest.raises(CourseError, match='"bce"'):
        train(recipe.but(loss="cross_entropy"), corpus, clips, parts, tmp_path / "choice", progress=False)


def test_the_score_is_the_energy_or_the_surest_yes():
    logits = torch.tensor([[0.0, 5.0] + [-9.0] * 8, [-4.0] * 10])
    assert torch.allclose(digit_score(logits, "bce"), torch.tensor([5.0, -4.0]))
    assert torch.allclose(digit_score(logits, "cross_entropy"), torch.logsumexp(logits, 1))


def test_joined_corpora_keep_their_files_and_say_where_a_clip_is_from(tones, tmp_path):
    other = replace(tones.part(speakers=2), name="chords", title="Chords", synthetic=True)
    both = join("both", [tones.part(speakers=3), other])
    assert len(both) == len(tones.part(speakers=3)) + len(other)
    assert all(both.file(row).is_file() for row in range(len(both)))
    assert both.table["corpus"].value_counts().to_dict() == {"tones": 90, "chords": 60}
    assert not both.synthetic and both.title == "Test tones and Chords"
    assert pd.unique(both.table["speaker"]).tolist() == ["t0", "t1", "t2"]

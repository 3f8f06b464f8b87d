"""A last layer fitted by a regression: it answers as scikit-learn's does, and leaves the rest alone."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spokendigits.classifier import create
from spokendigits.clips import make_clips
from spokendigits.corpora import fsdd
from spokendigits.errors import CourseError
from spokendigits.evaluation import predict
from spokendigits.intervals import accuracy
from spokendigits.recipe import Recipe
from spokendigits.topics.explain import embeddings
from spokendigits.topics.heads import fit_head

RECIPE = Recipe.preset("speech").but(corpus="fsdd")


@pytest.fixture(scope="module")
def people(fsdd_root):
    """Two takes of each digit by each of six people, and what the speech embedding makes of them."""
    corpus = fsdd.read(fsdd_root).part(takes=2)
    classifier, clips = create(RECIPE), make_clips(corpus, RECIPE, progress=False)
    embedded = embeddings(classifier, clips, corpus, np.arange(len(corpus)), progress=False)
    return corpus, clips, classifier, embedded


def test_a_head_reads_a_person_whom_it_never_heard(people):
    corpus, clips, classifier, embedded = people
    digit, speaker = corpus.table["digit"].to_numpy(), corpus.table["speaker"].to_numpy()
    others, theo = np.flatnonzero(speaker != "theo"), np.flatnonzero(speaker == "theo")
    before = classifier.digest()
    reader = fit_head(classifier, embedded[others], digit[others])
    table = predict(reader, clips, corpus, theo, progress=False)
    assert accuracy(table) > 0.8
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.001, max_iter=1000))
    expected = regression.fit(embedded[others], digit[others]).predict_proba(embedded[theo])
    assert np.abs(table[[f"p{k}" for k in range(10)]].to_numpy() - expected).max() < 1e-4
    assert classifier.digest() == before, "a copy learns"
    assert torch.equal(reader.backbone.layers[0].weight, classifier.backbone.layers[0].weight)


def test_a_digit_that_nobody_said_is_never_the_answer(people):
    corpus, clips, classifier, embedded = people
    digit = corpus.table["digit"].to_numpy()
    some = np.flatnonzero(digit < 8)
    table = predict(
        fit_head(classifier, embedded[some], digit[some]), clips, corpus, np.arange(len(corpus)), progress=False
    )
    assert set(table["predicted"]) <= set(range(8))
    with pytest.raises(CourseError, match="clips of 2 digits are too few"):
        fit_head(classifier, embedded[digit < 2], digit[digit < 2])


def test_a_loss_of_ten_questions_is_refused(people):
    _, _, _, embedded = people
    with pytest.raises(CourseError, match="cross_entropy"):
        fit_head(create(RECIPE.but(loss="bce")), embedded, np.arange(len(embedded)) % 10)

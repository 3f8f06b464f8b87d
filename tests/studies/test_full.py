"""The seed experiment at full size: what is stored of it is what the training left."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spokendigits import lanes
from spokendigits.clips import make_clips
from spokendigits.evaluation import metrics
from spokendigits.intervals import accuracy, interval
from spokendigits.recipe import Recipe
from spokendigits.splits import split
from spokendigits.training import train
from studies import full

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def trained(tones, recipe, tmp_path):
    recipe = recipe.but(epochs=3, batch_size=4)
    clips = make_clips(tones, recipe, progress=False)
    train(recipe, tones, clips, split(tones, "random"), tmp_path / "run", progress=False)
    return tmp_path / "run"


def test_results_are_those_that_the_training_left(trained):
    found = full.results(trained, {"corpus": 2.0})
    steps, history = pd.read_csv(trained / "steps.csv"), pd.read_csv(trained / "history.csv")
    assert len(steps) == 108 and len(found["curves"]["loss"]) == 5, "108 steps are four times 25, and a rest"
    assert found["curves"]["loss"][0] == pytest.approx(steps["loss"][:25].mean(), rel=1e-3)
    assert found["curves"]["loss"][-1] == pytest.approx(steps["loss"][100:].mean(), rel=1e-3)
    assert found["curves"]["validation_loss"] == list(history["loss"])
    assert sum(found["stages"].values()) == pytest.approx(2 + history[["seconds", "validation_seconds"]].sum().sum())
    table = pd.read_csv(trained / "predictions.csv")
    low, high = interval(table)
    assert found["metrics"]["accuracy"] == accuracy(table)
    assert (found["metrics"]["low"], found["metrics"]["high"]) == (low, high)
    assert found["metrics"]["roc_auc"] == pytest.approx(metrics(table)["roc_auc"])
    assert f"{100 * accuracy(table):.2f} %" in found["prose"]["full_accuracy"]


def test_every_number_of_the_full_run_on_a_page_is_stored(trained):
    used = {
        name
        for page in (ROOT / "book").glob("*.md")
        for name in re.findall(r"\{\{ *(full_\w+) *\}\}", page.read_text())
    }
    assert used and used <= set(full.results(trained)["prose"])


def test_the_stored_run_is_the_seed_experiment():
    stored = json.loads((ROOT / "book/results/full.json").read_text())
    made = Recipe().but(**stored["made"]["recipe"])
    assert made == lanes.recipe("full", "synthetic") == Recipe.preset("seed").but(corpus="synthetic")
    assert (stored["made"]["clips_train"], stored["made"]["clips_validation"]) == (24_000, 6_000)
    assert len(stored["curves"]["loss"]) == 3750 // 25 and len(stored["curves"]["validation_loss"]) == 5
    assert stored["metrics"]["clips"] == 6_000 and stored["metrics"]["low"] <= stored["metrics"]["accuracy"]


def test_the_original_curves_are_those_of_its_record():
    """Against the numbers that its page shows, which were copied separately."""
    seed = json.loads((ROOT / "book/results/seed.json").read_text())
    for epoch in range(5):
        assert seed["curves"]["validation_loss"][epoch] == pytest.approx(
            float(seed["prose"][f"seed_loss_{epoch + 1}"]), abs=1e-8
        )
        assert f"{seed['curves']['validation_roc_auc'][epoch]:.8f}" == seed["prose"][f"seed_roc_auc_{epoch + 1}"]
    loss = np.array(seed["curves"]["loss"])
    assert len(loss) == 150 and loss[0] > 0.3 and loss[-30:].mean() < 0.002

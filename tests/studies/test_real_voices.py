"""From synthetic speech to people: every training of the study, small, on stand-ins of the true shape."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spokendigits import corpora, intervals, lanes
from spokendigits.app import product_yaml
from spokendigits.corpora.corpus import PROBABILITIES
from spokendigits.errors import CourseError
from spokendigits.splits import Split, split
from spokendigits.topics import explain
from studies import real_voices, words

SMALL = {"n_mels": 32, "epochs": 1, "batch_size": 8, "backbone": "test_resnet.r160_in1k", "window": 1024, "hop": 512}
SIZES = {"SHORT": 1, "LONG": 40, "PLAIN_STEPS": 1, "READ": 0.0, "VIEWS": 2}
SIZES |= {"TAKES": (1,), "FEW": 40, "SPEAKERS": (1, 5)}


@pytest.fixture
def small_study(tones, monkeypatch):
    """Chords for both corpora, a tiny network, hardly any steps."""
    for name in ("SYNTHETIC", "HUMAN", "PLAIN"):
        recipe = getattr(real_voices, name).but(**SMALL, folds=3, learning_rate=0.003)
        # A chord sung by another voice would be another digit: here augmentation must not change the pitch.
        plain = {} if name == "PLAIN" else {"augment": "mask", "mix_probability": 0.0}
        monkeypatch.setattr(real_voices, name, recipe.but(**plain))
    for name, value in SIZES.items():
        monkeypatch.setattr(real_voices, name, value)
    monkeypatch.setattr(explain, "REPORTED", ("6_t0_0", "6_t1_1", "6_t2_2"))
    engines = np.where(tones.table["speaker"] == tones.speakers[0], "kokoro", "espeak")
    spoken = replace(tones, table=tones.table.assign(engine=engines))
    monkeypatch.setattr(corpora, "load", lambda name, progress: spoken if name == "voices" else tones)

    def parts(corpus, how, *given, **named):
        # The chords have no published takes: their first take of three stands for them.
        if how != "published":
            return split(corpus, how, *given, **named)
        first = corpus.table["take"] == 0
        return Split(np.flatnonzero(~first), np.flatnonzero(first), np.array([], int))

    monkeypatch.setattr(real_voices, "split", parts)


@pytest.mark.nightly  # sixty trainings
def test_the_study_holds_out_every_speaker_and_keeps_what_is_known(small_study, tones, tmp_path, monkeypatch):
    folder = tmp_path / "runs"
    measured = real_voices.measure(folder, seeds=2, progress=False)
    people = len(tones.speakers)
    for key in ("no_human_data", "synthetic_1", "synthetic_5", "none_1", "none_5"):
        assert measured[key]["clips"] == len(tones) and set(measured[key]["speakers"]) == set(tones.speakers)
        assert measured[key]["low"] <= measured[key]["accuracy"] <= measured[key]["high"]
    assert measured["no_human_data"]["trainings"] == len(measured["no_human_data"]["seeds"]) == 2
    worst = measured["loso_worst"]
    assert worst["accuracy"] == min(measured["loso_mean"]["speakers"].values())
    assert worst["low"] < worst["accuracy"] < worst["high"] or worst["accuracy"] in (0, 1)
    assert measured["official_split"]["clips"] == len(tones) / 3
    trainings = {how: score["trainings"] for how, score in measured["splits"].items()}
    assert trainings == {"random": 5, "published": 1, "speaker": 3, "one_speaker": people}
    assert measured["splits"]["random"]["recipe"]["augment"] == "none"
    # Many views are for models that learned from such; what they cost or bring is a step of its own.
    views = {path.parent.name: path.name for path in folder.rglob("people-*.csv")}
    assert views["plain-random-0"] == "people-1.csv" and views["none-1-0"] == "people-2.csv"
    assert len(list((folder / "voices-0").glob("people-*.csv"))) == 2
    assert measured["steps"]["and read as by many voices"] == measured["no_human_data"]
    assert measured["without"]["without room"]["recipe"] == {"augment": "voice+cut+band+noise+mask"}
    assert measured["labels"]["clips"] == len(tones)
    for name in ("ranks", "ranks_held_out"):
        ranks = measured["labels"][name]
        assert set(ranks) == set(explain.REPORTED) and all(1 <= rank <= len(tones) for rank in ranks.values())
    recipe = product_yaml.read_recipe(folder / "synthetic-1-3" / "recipe.yaml")[0]
    assert recipe.fold == 3 and recipe.weights.endswith("voices-0/model.safetensors")
    assert product_yaml.read_recipe(folder / "none-5-0" / "recipe.yaml")[0].weights == "none"
    # As many steps for one speaker as for five.
    steps = [len(pd.read_csv(folder / name / "steps.csv")) for name in ("none-1-0", "none-5-0", "takes-1-0")]
    assert all(0.75 * real_voices.LONG <= count <= 1.25 * real_voices.LONG for count in steps), steps
    # One speaker's 30 clips are twice in an epoch, and yet counted once.
    trained = real_voices.People(folder, progress=False)
    record = trained.record("none-1-0")
    assert (record["clips_train"], record["clips_epoch"]) == (30, 60) and measured["none_1"]["clips_train"] == 30
    json.dumps(measured, allow_nan=False)
    assert all(words.fsdd(measured).values())

    # A scarce engine is heard more often, and one can be heard alone.
    names = [
        trained.train_on_voices(name, real_voices.SYNTHETIC, 1, engine)
        for name, engine in (("all", None), ("alone", "espeak"))
    ]
    heard = split(trained.voices.corpus, "speaker", 3, real_voices.SYNTHETIC.fold).train
    engines = trained.voices.corpus.table["engine"].iloc[heard].value_counts()
    everyone = engines["espeak"] + real_voices.REPEATS["kokoro"] * engines.get("kokoro", 0)
    assert [trained.record(name)["clips_epoch"] for name in names] == [everyone, engines["espeak"]]

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("model.safetensors")}
    stages = []
    again = real_voices.measure(folder, 2, progress=False, keep=lambda out: stages.append(json.loads(json.dumps(out))))
    assert {**again, "made": None} == {**measured, "made": None}
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("model.safetensors")}

    # What was stored after any part is whole, and goes on elsewhere without what it knows.
    assert len(stages) > 15 and stages[-1].keys() == measured.keys()
    half = next(stage for stage in stages if "official_split" in stage)
    assert all(words.fsdd(half).values()) and "none_5" not in half
    assert half["made"]["corpus"].keys() == {"people", "voices"}
    monkeypatch.setattr(real_voices.People, "voices", property(lambda self: pytest.fail("voices were asked for again")))
    # What was measured when the recipe had fewer settings goes on, too.
    recipe = {name: value for name, value in stages[-1]["made"]["recipe"].items() if name != "freeze"}
    older = {**stages[-1], "made": {**stages[-1]["made"], "recipe": recipe}}
    elsewhere = real_voices.measure(tmp_path / "elsewhere", 2, progress=False, known={**older, "splits": {}})
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} == {
        f"plain-{how}-{fold}" for how, folds in real_voices.SPLITS.items() for fold in range(folds or people)
    }
    tables = real_voices.split_tables(tmp_path / "elsewhere")
    for how, table in tables.groupby("split"):
        assert intervals.score(table)["accuracy"] == elsewhere["splits"][how]["accuracy"]
        assert len(table) == elsewhere["splits"][how]["clips"] == table["path"].nunique()
    assert elsewhere["made"]["corpus"] == stages[-1]["made"]["corpus"]
    other = {**stages[-1], "made": {**stages[-1]["made"], "recipe": {}}}
    with pytest.raises(CourseError, match="found with another recipe"):
        real_voices.measure(folder, 2, progress=False, known=other)


def test_scores_of_seeds_are_averaged_clip_by_clip_not_pooled():
    table = pd.DataFrame({"speaker": list("aabb"), "digit": [1, 1, 1, 1], "predicted": [1, 1, 1, 0]})
    score = real_voices.score_of_seeds([table, table.assign(predicted=[1, 1, 0, 0])])
    assert score["accuracy"] == 0.625 and score["clips"] == 4 and score["seeds"] == [0.75, 0.5]
    assert score["speakers"] == {"a": 1.0, "b": 0.25}
    once, twice = real_voices.score_of_seeds([table]), real_voices.score_of_seeds([table, table])
    assert (once["low"], once["high"]) == (twice["low"], twice["high"]), "seeds are no further speakers or clips"


def test_what_no_voice_of_a_speaker_says_is_left_out():
    table = pd.DataFrame({"speaker": ["a", "a", "a", "b"], "digit": [1, 1, 2, 1]})
    table[PROBABILITIES] = 0.0
    table["p1"], table["p2"] = [0.9, 0.1, 0.0, 0.2], [0.1, 0.9, 0.6, 0.8]
    assert real_voices.understood(table).tolist() == [True, True, True, False]


def test_the_stored_tables_give_the_stored_scores_and_each_clip_was_held_out_once():
    tables = pd.read_csv(lanes.shipped("results/splits.csv"))
    scores = lanes.stored("fsdd")["splits"]
    assert set(tables["split"]) == set(scores) == set(real_voices.SPLITS)
    for how, table in tables.groupby("split"):
        found = intervals.score(table)
        assert {name: pytest.approx(scores[how][name]) for name in found if name != "speakers"} == {
            name: value for name, value in found.items() if name != "speakers"
        }
        assert table["path"].is_unique and set(table["speaker"]) == set(scores[how]["speakers"])
        given = table[PROBABILITIES].to_numpy()
        assert np.allclose(given.sum(axis=1), 1, atol=0.06)  # ten rounded numbers
        assert (given[np.arange(len(table)), table["predicted"]] >= given.max(axis=1) - 1e-9).all()

"""From synthetic speech to people: every training of the study, small, on stand-ins of the true shape."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spokendigits import corpora
from spokendigits.errors import CourseError
from spokendigits.evaluation import PROBABILITIES
from spokendigits.files import read_json
from spokendigits.recipe import Recipe
from spokendigits.splits import Split, split, subset
from spokendigits.topics import explain
from studies import real_voices


@pytest.fixture
def small(tones, monkeypatch):
    """Chords for both corpora, a tiny network, hardly any steps."""
    small = {
        "n_mels": 32,
        "epochs": 1,
        "batch_size": 8,
        "backbone": "test_resnet.r160_in1k",
        "window": 1024,
        "hop": 512,
    }
    # A chord sung by another voice would be another digit: here augmentation must not change the pitch.
    for name in ("SYNTHETIC", "HUMAN"):
        monkeypatch.setattr(real_voices, name, getattr(real_voices, name).but(augment="mask", mix_probability=0.0))
    for name in ("SYNTHETIC", "HUMAN", "PLAIN"):
        monkeypatch.setattr(real_voices, name, getattr(real_voices, name).but(**small, folds=3, learning_rate=0.003))
    for name, value in {
        "SHORT": 1,
        "LONG": 40,
        "PLAIN_STEPS": 1,
        "READ": 0.0,
        "VIEWS": 2,
        "TAKES": (1,),
        "FEW": 40,
        "SPEAKERS": (1, 5),
    }.items():
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


def test_the_study_holds_out_every_speaker_and_keeps_what_is_known(small, tones, tmp_path, monkeypatch):
    folder = tmp_path / "runs"
    found = real_voices.study(folder, seeds=2, progress=False)
    people = len(tones.speakers)
    for key in ("no_human_data", "synthetic_1", "synthetic_5", "none_1", "none_5"):
        assert found[key]["clips"] == len(tones) and set(found[key]["speakers"]) == set(tones.speakers)
        assert found[key]["low"] <= found[key]["accuracy"] <= found[key]["high"]
    assert found["no_human_data"]["trainings"] == len(found["no_human_data"]["seeds"]) == 2
    assert found["loso_worst"]["accuracy"] == min(found["loso_mean"]["speakers"].values())
    assert found["loso_worst"]["low"] < found["loso_worst"]["accuracy"] < found["loso_worst"]["high"] or (
        found["loso_worst"]["accuracy"] in (0, 1)
    )
    assert found["official_split"]["clips"] == len(tones) / 3
    assert {how: one["trainings"] for how, one in found["splits"].items()} == {
        "random": 5, "published": 1, "speaker": 3, "one_speaker": people
    }  # fmt: skip
    assert found["splits"]["random"]["recipe"]["augment"] == "none"
    # Many views are for models that learned from such; what they cost or bring is a step of its own.
    views = {path.parent.name: path.name for path in folder.rglob("people-*.csv")}
    assert views["plain-random-0"] == "people-1.csv" and views["none-1-0"] == "people-2.csv"
    assert len(list((folder / "voices-0").glob("people-*.csv"))) == 2
    assert found["steps"]["and read as by many voices"] == found["no_human_data"]
    assert found["without"]["without room"]["recipe"] == {"augment": "voice+cut+band+noise+mask"}
    assert found["labels"].pop("clips") == len(tones)
    for ranks in found["labels"].values():
        assert set(ranks) == set(explain.REPORTED) and all(1 <= rank <= len(tones) for rank in ranks.values())
    found["labels"]["clips"] = len(tones)
    made = Recipe.from_yaml(folder / "synthetic-1-3" / "recipe.yaml")
    assert made.fold == 3 and made.weights.endswith("voices-0/model.safetensors")
    assert Recipe.from_yaml(folder / "none-5-0" / "recipe.yaml").weights == "none"
    # As many steps for one speaker as for five.
    steps = [len(pd.read_csv(folder / name / "steps.csv")) for name in ("none-1-0", "none-5-0", "takes-1-0")]
    assert all(0.75 * real_voices.LONG <= count <= 1.25 * real_voices.LONG for count in steps), steps
    # One speaker's 30 clips are twice in an epoch, and yet counted once.
    made = read_json(folder / "none-1-0" / "run.json")
    assert (made["clips_train"], made["clips_epoch"]) == (30, 60) and found["none_1"]["clips_train"] == 30
    json.dumps(found, allow_nan=False)
    assert all(real_voices.prose(found).values())

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("model.safetensors")}
    stages = []
    again = real_voices.study(folder, 2, progress=False, keep=lambda out: stages.append(json.loads(json.dumps(out))))
    assert {**again, "made": None} == {**found, "made": None}
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("model.safetensors")}

    # What was stored after any part is whole, and goes on elsewhere without what it knows.
    assert len(stages) > 15 and stages[-1].keys() == found.keys()
    half = next(stage for stage in stages if "official_split" in stage)
    assert all(real_voices.prose(half).values()) and "none_5" not in half
    assert half["made"]["corpus"].keys() == {"people", "voices"}
    monkeypatch.setattr(real_voices.Study, "voices", property(lambda self: pytest.fail("voices were asked for again")))
    elsewhere = real_voices.study(tmp_path / "elsewhere", 2, progress=False, known={**stages[-1], "splits": {}})
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} == {
        f"plain-{how}-{fold}" for how, folds in real_voices.SPLITS.items() for fold in range(folds or people)
    }
    assert elsewhere["made"]["corpus"] == stages[-1]["made"]["corpus"]
    other = {**stages[-1]["made"], "recipe": {}}
    with pytest.raises(CourseError, match="found with another recipe"):
        real_voices.study(folder, 2, progress=False, known={**stages[-1], "made": other})


def test_a_scarce_engine_is_heard_more_often_and_one_can_be_heard_alone(small, tones, tmp_path):
    study = real_voices.Study(tmp_path, progress=False)
    everyone = study.spoken("all", real_voices.SYNTHETIC, 1)
    alone = study.spoken("alone", real_voices.SYNTHETIC, 1, "espeak")
    engines = (
        study.voices.table["engine"]
        .iloc[split(study.voices, "speaker", 3, real_voices.SYNTHETIC.fold).train]
        .value_counts()
    )
    trained = [read_json(tmp_path / name / "run.json")["clips_epoch"] for name in (everyone, alone)]
    assert trained == [engines["espeak"] + real_voices.REPEATS["kokoro"] * engines.get("kokoro", 0), engines["espeak"]]


def test_scores_of_seeds_are_averaged_clip_by_clip_not_pooled():
    table = pd.DataFrame({"speaker": list("aabb"), "digit": [1, 1, 1, 1], "predicted": [1, 1, 1, 0]})
    other = table.assign(predicted=[1, 1, 0, 0])
    found = real_voices.score([table, other])
    assert found["accuracy"] == 0.625 and found["clips"] == 4 and found["seeds"] == [0.75, 0.5]
    assert found["speakers"] == {"a": 1.0, "b": 0.25}
    once = real_voices.score([table])
    twice = real_voices.score([table, table])
    assert (once["low"], once["high"]) == (twice["low"], twice["high"]), "seeds are no further speakers or clips"


def test_what_no_voice_of_a_speaker_says_is_left_out():
    table = pd.DataFrame({"speaker": ["a", "a", "a", "b"], "digit": [1, 1, 2, 1]})
    table[PROBABILITIES] = 0.0
    table["p1"], table["p2"] = [0.9, 0.1, 0.0, 0.2], [0.1, 0.9, 0.6, 0.8]
    assert real_voices.understood(table).tolist() == [True, True, True, False]


def test_every_speaker_is_new_when_tested(tones):
    for fold in range(len(tones.speakers)):
        parts = subset(split(tones, "one_speaker", fold=fold), tones, speakers=2, seed=fold)
        assert parts.shared_speakers(tones) == []
        assert tones.table["speaker"].iloc[parts.train].nunique() == 2
        assert set(tones.table["speaker"].iloc[parts.validation]) == {tones.speakers[fold]}

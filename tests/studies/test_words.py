"""What pages say of a study is what its file in book/results says; the runs of the seed's recipe are what they claim to be."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spokendigits import intervals, lanes
from spokendigits.corpora.corpus import COLUMNS, PROBABILITIES, table_of
from spokendigits.files import read_json, write_json
from spokendigits.publish.runner import STATE
from spokendigits.publish.words import AVERAGED, fast, full, in_words
from spokendigits.recipe import Recipe
from studies import bench_report as report
from studies import words
from studies.outputs import digests

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "book" / "results"


@pytest.mark.parametrize("name", words.PROSE)
def test_the_words_of_a_result_are_those_of_its_numbers(name):
    stored = read_json(RESULTS / f"{name}.json")
    assert words.PROSE[name](stored) == stored["prose"], f"book/results/{name}.json: word it again with studies.words"
    if name == "bench":
        again = {**report.ratios(stored["rounds"]), "medians": report.medians(stored["rounds"])}
        assert {key: stored[key] for key in again} == again, "of the rounds"


def test_the_words_of_the_seeds_runs_are_those_of_their_numbers(tmp_path):
    """From folders as the runs left them."""
    stored = read_json(RESULTS / "fast.json")
    write_json(tmp_path / "metrics.json", stored["metrics"])
    write_json(tmp_path / STATE, stored["course"])
    for part, record in stored["trained"].items():
        write_json(tmp_path / part / lanes.RUN, record)
    assert digests(ROOT / "notebooks") == stored.pop("outputs"), "an output was edited: `make outputs` renews all"
    assert fast(tmp_path) == stored

    stored, run = read_json(RESULTS / "full.json"), tmp_path / "full"
    curves, stages = stored["curves"], dict(stored["stages"])
    write_json(run / lanes.RUN, stored["made"])
    write_json(run / "metrics.json", stored["metrics"])
    history = pd.DataFrame({"loss": curves["validation_loss"], "roc_auc": curves["validation_roc_auc"]})
    spent = {"seconds": stages.pop("training"), "validation_seconds": stages.pop("validation")}
    history.assign(**{name: [total, *[0.0] * 4] for name, total in spent.items()}).to_csv(run / "history.csv")
    steps = np.repeat(curves["loss"], AVERAGED)
    pd.DataFrame({"loss": steps}).to_csv(run / "steps.csv")
    again = full(run, stages)
    assert again["prose"] == stored["prose"] and again["curves"]["loss"] == curves["loss"]
    assert again["stages"] == pytest.approx(stored["stages"])
    pd.DataFrame({"loss": [*steps, 1.0, 3.0]}).to_csv(run / "steps.csv")
    assert full(run)["curves"]["loss"] == [*curves["loss"], 2.0], "a rest of steps is a point of its own"


def test_the_words_on_people_are_those_of_the_stored_answers():
    stored = read_json(RESULTS / "people.json")
    table = pd.DataFrame(stored["table"])
    pd.testing.assert_frame_equal(table[COLUMNS], table_of(table["path"]))
    assert (table[PROBABILITIES].to_numpy().argmax(axis=1) == table["predicted"]).all()
    assert intervals.score(table) == pytest.approx(stored["score"])
    assert stored["prose"] == {"accuracy_people": in_words(stored["score"])}


def parts(value) -> list[dict]:
    """All mappings in what a file of results holds."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] * isinstance(value, dict) + [one for part in inside for one in parts(part)]


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_stored_score_lies_in_its_interval_and_is_the_mean_of_its_seeds_and_speakers(path):
    """A number that was changed by hand disagrees with those beside it: a share of clips is one of whole clips."""
    for score in parts(read_json(path)):
        for name in {"accuracy", "recall"} & score.keys() if isinstance(score.get("clips"), int) else ():
            right = score[name] * score["clips"] * len(score.get("seeds", "1"))
            assert right == pytest.approx(score.get("right", round(right)), rel=1e-9, abs=1e-6), score
        for name in {"accuracy", "value", "recall", "difference"} & score.keys() if "low" in score else ():
            assert score["low"] <= score[name] <= score["high"], score
        if "seeds" in score and "accuracy" in score:
            assert score["accuracy"] == pytest.approx(np.mean(score["seeds"])), score
        if isinstance(score.get("speakers"), dict):  # FSDD's, who have equally many clips each
            assert score["accuracy"] == pytest.approx(np.mean([*score["speakers"].values()])), score


def test_the_parts_of_a_step_on_a_gpu_are_said_and_so_is_what_did_not_work():
    step = dict.fromkeys(words.GPU_PARTS, 2.0) | {"whole step, CUDA graph": 1.6}
    del step["whole step, compiled"]
    run = {"precision": "bf16", "clips_epoch": 24_000, "recipe": {"epochs": 5}, "seconds": 10.0}
    run |= {"clips_train": 24_000, "clips_validation": 6_000}
    results = {"seconds": {"corpus": 97, "clips": 1.44, "training with validation": 90}, "milliseconds": step}
    results |= {
        "device": "GPU",
        "versions": {"torch": "2", "cuda": "13"},
        "finished": "2026-11-26T10:00:00",
        "made": run,
    }
    texts = words.gpu({**results, "metrics": {"accuracy": 0.9999, "low": 0.999, "high": 1}})
    assert texts["gpu_ms_step"] == "2.00" and texts["gpu_times_graph"] == "1.25" and texts["gpu_seconds_clips"] == "1.4"
    assert texts["gpu_ms_compiled"] == texts["gpu_times_compiled"] == "not measured"
    assert (texts["gpu_clips"], texts["gpu_minutes"]) == ("30,000", "3")
    assert texts["gpu_clips_a_second"] == "12,000" and texts["gpu_accuracy"].startswith("99.99 %")


def test_what_the_page_says_of_a_gpu_that_waits_is_what_was_measured():
    step = read_json(RESULTS / "gpu.json")["milliseconds"]
    plain, graph = step["whole step"], step["whole step, CUDA graph"]
    assert plain > 2 * graph, "most of the time the GPU waits"
    assert step["whole step, compiled"] > 0.95 * plain, "alone, compiling gains nothing"
    assert step["whole step, compiled, CUDA graph"] < graph


def test_the_stored_runs_are_the_seed_experiment_and_its_own_record():
    stored, seed = read_json(RESULTS / "full.json"), read_json(RESULTS / "seed.json")
    recipe = Recipe().but(**stored["made"]["recipe"])
    assert recipe == lanes.recipe("full", "synthetic") == Recipe.preset("seed").but(corpus="synthetic")
    assert (stored["made"]["clips_train"], stored["made"]["clips_validation"]) == (24_000, 6_000)
    assert len(stored["curves"]["loss"]) == 3750 // AVERAGED and len(stored["curves"]["validation_loss"]) == 5
    assert stored["metrics"]["clips"] == 6_000 and stored["metrics"]["low"] <= stored["metrics"]["accuracy"]
    # Against the numbers that its page shows, which were copied separately.
    curves, prose, epochs = seed["curves"], seed["prose"], range(1, 6)
    said = [float(prose[f"seed_loss_{epoch}"]) for epoch in epochs]
    assert curves["validation_loss"] == pytest.approx(said, abs=1e-8)
    areas = [f"{area:.8f}" for area in curves["validation_roc_auc"]]
    assert areas == [prose[f"seed_roc_auc_{epoch}"] for epoch in epochs]
    loss = np.array(curves["loss"])
    assert len(loss) == 150 and loss[0] > 0.3 and loss[-30:].mean() < 0.002

"""The model card: of the course's own small model, of a reader's run, in plain Markdown. Its page is looked at in test_book."""

import copy
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml

from spokendigits import lanes
from spokendigits.clips import make_clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError
from spokendigits.evaluation import recall_by
from spokendigits.files import read_json, sha256, write_json
from spokendigits.lanes import MODEL
from spokendigits.publish import card, words
from spokendigits.publish.words import in_words
from spokendigits.recipe import Recipe
from spokendigits.splits import split
from spokendigits.training import train

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = re.findall(r"^##+ (.+)$", (ROOT / "book/model_card.md").read_text(encoding="utf-8"), re.MULTILINE)
SHARE = re.compile(r"\d+\.\d+ % \(95 % interval [^)]*\)")


@pytest.fixture
def small() -> dict:
    return copy.deepcopy(lanes.stored("small"))


@pytest.fixture
def export() -> dict:
    return copy.deepcopy(lanes.stored("export"))


def of_course(small: dict, export: dict) -> str:
    return card.plain(card.render(card.of_course(small, export)))


def check(text: str) -> None:
    """What holds for every plain card: all sections, nothing unfilled, an interval with each accuracy, links that lead somewhere."""
    assert [title for title in SECTIONS if not re.search(rf"^##+ {re.escape(title)}$", text, re.MULTILINE)] == []
    for left in ("{{", "}}", "{%", "{term}", "{cite", "```", ":::", "None", "nan"):
        assert left not in text, left
    assert not re.search(r"^\(\w+\)=|^%|\n\n\n|[ \t]$", text, re.MULTILINE)
    for section in re.split(r"^##+ .+$", text, flags=re.MULTILINE)[1:]:
        assert re.search(r"\w", section) or "By group" in text
    assert re.findall(r"\d+\.\d+ %", SHARE.sub("", text)) == [], "an accuracy without its interval"
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert link.startswith("https://"), link
        if link.startswith(card.REPOSITORY):
            assert (ROOT / link.removeprefix(f"{card.REPOSITORY}/blob/main/").partition("#")[0]).is_file(), link


def test_the_courses_own_card_shows_the_numbers_of_the_results_and_no_others(small, export):
    text = of_course(small, export)
    check(text)
    people, voices, rejection = (small[part] for part in ("people", "held_out", "rejection"))
    scores = [people[name] for name in ("small", "taught_alone", "teacher_alone")]
    scores += [voices["small"], voices["teacher"], *small["int8"].values(), *export["rows"]]
    scores += [row for row in small["noise"] if row["model"] in ("small", "teacher")]
    scores += [rejection[f"{what}_rejected{whose}"] for what, whose in (("digits", ""), ("digits", "_people"))]
    scores += [rejection[f"{what}_accepted"] for what in ("words", "noises")]
    for part in (people, voices):
        for rows in part["by"].values():
            scores += sorted(rows, key=lambda row: row["recall"])[: card.MOST]
    assert set(SHARE.findall(text)) == set(map(in_words, scores))
    for area in (rejection["words"], rejection["noise"]):
        assert f"{area['value']:.3f} (95 % interval {area['low']:.3f} to {area['high']:.3f})" in text
    for row in export["rows"]:
        assert f"| {row['bytes'] / 1000:,.0f} kB | {row['milliseconds']:.1f} (" in text
    assert f"{abs(100 * voices['lost']['difference']):.1f} points" in text


def test_what_was_learned_from_and_who_was_heard_is_said(small, export):
    text = of_course(small, export)
    assert "3,000 clips of people: all 6" in text and "a twin of this model that learned from the others" in text
    scores = [line for line in text.splitlines() if re.search(r"\| (3,000|1,220) \| (6|61) \|", line)]
    assert in_words(small["people"]["small"]) in scores[0], "first of all what a new person may expect"
    assert "**What may a new person expect?** The first row is the best guess" in text
    worst, *_, best = sorted(small["people"]["by"]["speaker"], key=lambda row: row["recall"])
    assert f"the worst read has {in_words(worst)} and the best {in_words(best)}." in text, "nobody is a mean"
    for licence in ("CC BY-SA 4.0", "GPL-3.0", "free for any use"):
        assert licence in text
    assert "All people in its training and in the test are men" in text
    accents = sorted(small["held_out"]["by"]["accent"], key=lambda row: row["recall"])
    shown = [f"| {row['group']} | {row['speakers']} | {row['clips']} |" in text for row in accents]
    assert shown == [True] * card.MOST + [False] * (len(accents) - card.MOST), "the worst, and no others"
    assert f"the worst {card.MOST} of {len(accents)}" in text
    places = [text.index(f"| {row['group']} | {row['speakers']} | {row['clips']} |") for row in accents[: card.MOST]]
    assert places == sorted(places), "the worst first"
    gender = small["people"]["by"]["gender"]
    gender.append({**gender[0], "group": "female"})
    assert "Genders among the people of the test: female, male." in of_course(small, export)


def test_who_is_ahead_and_whether_it_may_be_chance(small, export):
    teacher, model = (
        "its teacher reads 2.0 points more than this model",
        "this model reads 2.0 points more than its teacher",
    )
    for difference, low, high, said in (
        (0.02, 0.01, 0.03, f"{teacher} (95 % interval 1.0 to 3.0), clip by clip.\n"),
        (-0.02, -0.03, -0.01, f"{model} (95 % interval 1.0 to 3.0), clip by clip.\n"),
        (-0.02, -0.05, 0.01, f"{model} (95 % interval -1.0 to 5.0), clip by clip. That may be"),
    ):
        small["held_out"]["lost"] |= {"difference": difference, "low": low, "high": high}
        assert said in of_course(small, export)


def test_energy_is_seconds_times_a_stated_power(small, export):
    assert card.energy(3600, "CPU, 2 cores") == {"kwh": pytest.approx(0.024), "watts": 24.0, "device": "CPU, 2 cores"}
    assert card.energy(1800, "NVIDIA H100 80GB HBM3")["kwh"] == pytest.approx(0.35)
    assert card.energy(3600, "NVIDIA GeForce RTX 2060")["watts"] == card.GPU
    one, other = small["training"]["small"], {"seconds": 777.0, "device": "CPU, 2 cores"}
    small["training"] |= {
        "teacher": {"seconds": 432.1, "device": "NVIDIA H100 80GB HBM3"},
        "others": [{"what": "more"} | other],
    }
    text = of_course(small, export)
    assert "| its teacher | 432 | NVIDIA H100 80GB HBM3 | 700 | 0.084 |" in text
    seconds, kwh = re.search(r"^\| all \| ([\d,]+) \|.*\| ([\d.]+) \|$", text, re.MULTILINE).groups()
    assert seconds == f"{one['seconds'] + 432.1 + 777:,.0f}"
    assert float(kwh) == pytest.approx((one["seconds"] + 777) * 24 / 3.6e6 + 432.1 * 700 / 3.6e6, rel=0.05)
    assert "estimate, and no measurement" in text
    small["training"]["teacher"] = None
    assert f"| its teacher | {card.UNKNOWN} | ? | ? | {card.UNKNOWN} |" in of_course(small, export)


def test_parts_that_were_not_measured_are_said_to_be_so(small, export):
    bare = {name: value for name, value in small.items() if name not in ("noise", "rejection", "sizes", "int8")}
    for part in ("people", "held_out"):
        bare[part] = {name: value for name, value in bare[part].items() if name not in ("lost", "by")}
    bare["training"] = {}
    text = of_course(bare, {"prose": {}})
    check(text)
    assert text.count(card.UNKNOWN) >= 12 and "No threshold comes with it" in text
    for part in card.NEEDED:
        with pytest.raises(CourseError, match=rf"small\.json: no {part} in it. Run `make small`"):
            card.of_course({name: value for name, value in small.items() if name != part}, export)


def test_the_courses_own_card_is_written_or_its_missing_results_are_named(tmp_path, monkeypatch, small, export):
    for name in ("model_card.md", "model_card.jinja", "references.bib"):
        shutil.copy(ROOT / "book" / name, tmp_path)
    monkeypatch.setattr(words, "shipped", lambda name: tmp_path / name)
    strangers = lanes.stored("strangers")
    for name, results in {"small": small, "export": export, "strangers": strangers}.items():
        command = "strangers" if name == "strangers" else "small"
        with pytest.raises(CourseError, match=rf"^.*{name}\.json: missing.*`make {command}`\.$") as caught:
            card.write(tmp_path / "out")
        assert "\n" not in str(caught.value)
        write_json(tmp_path / f"results/{name}.json", results)
    path = card.write(tmp_path / "out")
    assert path == tmp_path / "out" / card.CARD
    text = path.read_text(encoding="utf-8")
    assert text.index("## The model that answers") < text.index("## The model\n")
    assert strangers["prose"]["strangers_digits"] in text and strangers["made"]["taught"] in text
    check(path.read_text(encoding="utf-8"))


def test_one_address_of_the_repository():
    assert yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"] == card.REPOSITORY


def test_plain_markdown_keeps_the_words_and_drops_what_only_the_book_knows():
    text = """# A {term}`clip` of {term}`Clips <clip>`

It is {ref}`here <a-label>`, or [there](results.md#x), or [in a notebook](../notebooks/01_data.ipynb).
As {cite:t}`mitchell2019cards` say {cite:p}`mitchell2019cards, jackson2018fsdd`, see [us](https://example.org) and [below](#x).
By {cite:t}`laquatra2024arch` and {cite:t}`loshchilov2019adamw`, by {cite:t}`h2o2023hydrogentorch`.
"""
    main = f"{card.REPOSITORY}/blob/main"
    out = card.plain(text)
    assert "`" not in out and "a-label" not in out
    assert out.startswith("# A clip of Clips\n") and "It is here, or" in out
    assert f"[there]({main}/book/results.md#x)" in out and f"[in a notebook]({main}/notebooks/01_data.ipynb)" in out
    assert "As [Mitchell et al. (2019)](https://arxiv.org/abs/1810.03993) say ([Mitchell et al., 2019](" in out
    assert "[us](https://example.org)" in out and "[below](#x)" in out
    assert "; [Jackson et al., 2018](https://github.com/Jakobovski/free-spoken-digit-dataset))" in out
    assert (
        "By [La Quatra et al. (2024)]" in out and "[Loshchilov and Hutter (2019)]" in out and "[H2O.ai (2023)]" in out
    )
    with pytest.raises(CourseError, match="no nobody2020"):
        card.plain("{cite:p}`nobody2020`")


@pytest.fixture
def trained(tmp_path) -> Path:
    """A reader's run, on noise of six speakers of whom two facts are known."""
    folder, random = tmp_path, np.random.default_rng(0)
    rows = [(f"{speaker}_{digit}.wav", digit, speaker, 0) for speaker in "abcdef" for digit in range(10)]
    for path, *_ in rows:
        soundfile.write(folder / path, 0.1 * random.standard_normal(4000), 8000, subtype="PCM_16")
    table = pd.DataFrame(rows, columns=["path", "digit", "speaker", "take"])
    table["gender"], table["age"] = np.where(table["speaker"] < "c", "female", "male"), None
    corpus = Corpus("noise", folder, table, "Test noise", "none", "made by the tests")
    recipe = Recipe.preset("fast").but(
        backbone="test_resnet.r160_in1k", weights="none", takes=None, n_mels=32, epochs=1, corpus="my-recordings",
        batch_size=8, split="speaker", folds=2, fold=0, sample_rate=8000, f_max=4000.0,
    )  # fmt: skip
    clips = make_clips(corpus, recipe, progress=False)
    train(recipe, corpus, clips, split(corpus, "speaker", 2, 0), folder / "mine", progress=False)
    return folder / "mine"


@pytest.mark.slow
def test_a_readers_run_gets_a_card_of_its_own_files(trained, tmp_path):
    run, out = trained, tmp_path / "exported"
    out.mkdir()
    (out / "mine.onnx").write_bytes(b"x" * 123_456)
    text = card.write(out, run / MODEL, "README.md").read_text(encoding="utf-8")
    check(text)
    record, metrics = read_json(run / "run.json"), read_json(run / "metrics.json")
    assert f"| {metrics['clips']:,} | 3 | {in_words(metrics)} |" in text
    for said in ("`mine`", record["corpus"], sha256(run / MODEL), "| `mine.onnx` | 123 kB |", "373,"):
        assert said in text
    assert "no voice of this test was in training" in text and "**By age**" in text
    table = pd.read_csv(run / "predictions.csv", dtype={"speaker": str})
    for column in ("gender", "speaker"):
        for row in recall_by(table, column).reset_index().to_dict("records"):
            assert f"| {row[column]} | {row['speakers']} | {row['clips']} | {in_words(row)} |" in text
    assert f"| {record['seconds']:,.0f} | {record['device']} |" in text
    for unknown in (
        "Whether children are among the speakers",
        "Which language",
        "How long a clip takes",
        "No threshold",
    ):
        assert unknown in text
    scores = text.partition("### By group")[0]
    pd.concat([table, table.head(5).assign(digit=-1)]).to_csv(run / "predictions.csv", index=False)
    again = card.write(out, run, "README.md").read_text(encoding="utf-8")
    assert again.partition("### By group")[0] == scores, "clips that are no digits are left out"
    # What is not there, is said not to be known.
    for name in ("run.json", "metrics.json", "predictions.csv"):
        (run / name).unlink()
    text = card.write(out, run).read_text(encoding="utf-8")
    check(text)
    assert text.count(card.NOT_RECORDED) >= 3 and "groups of speakers are unknown" in text
    assert "test_resnet.r160_in1k" in text, "the model itself says that"
    with pytest.raises(CourseError, match=r"nowhere: neither a run's folder nor a model\.safetensors"):
        card.write(out, tmp_path / "nowhere")


def test_a_test_on_known_voices_is_called_so(tmp_path):
    for recipe, said in (
        ({"split": "random", "corpus": "synthetic"}, "in training, too"),
        ({"split": "published", "corpus": "fsdd"}, "in training, too"),
        ({"split": "published", "corpus": "audiomnist"}, "no voice of this test"),
        ({}, "How training and test were divided, is not recorded"),
    ):
        audio = {"seconds": 1.0, "sample_rate": 8000, "n_mels": 32, "f_max": 4000.0}
        write_json(tmp_path / "run.json", {"recipe": recipe and recipe | audio})
        text = card.plain(card.render(card.of_run(tmp_path)))
        check(text)
        assert said in text
        assert ("It knows English words" in text) == bool(recipe)

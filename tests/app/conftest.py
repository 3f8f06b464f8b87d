"""What the tests of commands share: one run that learned from people, and its export, each made once."""

import contextlib
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import pytest
import torch

from spokendigits import corpora
from spokendigits.app import cli
from spokendigits.classifier import create
from spokendigits.clips import Clips, make_clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.lanes import MODEL
from spokendigits.recipe import Recipe
from spokendigits.splits import Split, split
from spokendigits.topics.onnx_reader import ENTRY
from spokendigits.training import train


@dataclass(frozen=True)
class Trained:
    """A run "mine" below its own home, and what it learned from; its first weights were a file in that home."""

    home: Path
    clips: Clips
    parts: Split

    @property
    def model(self) -> Path:
        return self.home / "runs" / "mine" / MODEL


@pytest.fixture(scope="session")
def people(fsdd_root) -> Corpus:
    return corpora.read("fsdd", fsdd_root)


@pytest.fixture(scope="session")
def trained(people, tmp_path_factory) -> Trained:
    home = tmp_path_factory.mktemp("trained")
    recipe = Recipe.preset("voices").but(backbone="test_resnet.r160_in1k", weights="none", augment="none", loss="bce")
    recipe = recipe.but(
        corpus="fsdd", mix_probability=0.0, split="random", folds=5, fold=4, epochs=6, learning_rate=0.004
    )
    create(recipe).save(home / "first.safetensors")
    recipe = recipe.but(weights=str(home / "first.safetensors"))
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPOKENDIGITS_HOME", str(home))
        torch.set_num_threads(1)  # with more, sums are added in another order, and another network is trained
        clips = make_clips(people, recipe, progress=False)
        parts = split(people, recipe.split, recipe.folds, recipe.fold, recipe.seed)
        parts = replace(parts, train=parts.train[::2])
        train(recipe, people, clips, parts, home / "runs" / "mine", progress=False)
    torch.set_num_threads(threads)
    return Trained(home, clips, parts)


@pytest.fixture(scope="session")
def exported(trained, fsdd_root, tmp_path_factory) -> tuple[Path, str]:
    """The folder that `spokendigits export mine --threshold -2.5` wrote, and what it said."""
    out, said = tmp_path_factory.mktemp("exported") / "out", io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setenv("SPOKENDIGITS_HOME", str(trained.home))
        patch.setenv("SPOKENDIGITS_DATA", str(fsdd_root.parent))
        assert cli.main(["export", "mine", "--out", str(out), "--threshold", "-2.5"]) == 0
    return out, said.getvalue()


@pytest.fixture(scope="session")
def rewrite():
    """Writes an exported model again, with some facts of its entry changed; returns the new path."""

    def write(model: Path, path: Path, **facts) -> Path:
        file = onnx.load(model)
        onnx.helper.set_model_props(file, {ENTRY: json.dumps(json.loads(file.metadata_props[0].value) | facts)})
        onnx.save(file, path)
        return path

    return write

"""Two processes, as `accelerate launch` starts them, do together what one does alone."""

import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from spokendigits.files import read_json

# Layer norm looks at one clip at a time, so two processes differ from one by rounding alone. Float32 keeps that small.
SETTINGS = {
    "backbone": "test_convnext.r160_in1k",
    "weights": "none",
    "mixed_precision": "false",
    "n_mels": 32,
    "takes": 5,
    "epochs": 3,
    "batch_size": 16,
}
TWO = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
TWO += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m", "spokendigits"]


def run(launcher: list[str], *arguments: str, fsdd_root) -> subprocess.CompletedProcess:
    environment = {**os.environ, "SPOKENDIGITS_DATA": str(fsdd_root.parent), "OMP_NUM_THREADS": "1"}
    environment |= {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *launcher, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)


@pytest.fixture(scope="module")
def trained(fsdd_root, tmp_path_factory):
    """The same training by one process and by two: {"one": folder, "two": folder}."""
    home = tmp_path_factory.mktemp("distributed")
    settings = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPOKENDIGITS_HOME", str(home))
        for name, launcher in (("one", ["-m", "spokendigits"]), ("two", TWO)):
            done = run(launcher, "train", "--corpus", "fsdd", "--name", name, *settings, fsdd_root=fsdd_root)
            assert done.returncode == 0, done.stderr[-2000:]
    return {name: home / "runs" / name for name in ("one", "two")}


def test_two_processes_train_as_one(trained):
    one, two = (pd.read_csv(trained[name] / "steps.csv") for name in ("one", "two"))
    assert np.array_equal(one[["step", "learning_rate"]], two[["step", "learning_rate"]]), (
        "batch and rate are the recipe's"
    )
    assert np.allclose(one["loss"], two["loss"], rtol=1e-3)
    one, two = (pd.read_csv(trained[name] / "history.csv") for name in ("one", "two"))
    assert np.allclose(one[["loss", "log_loss"]], two[["loss", "log_loss"]], rtol=1e-3)
    assert np.allclose(one["accuracy"], two["accuracy"], atol=0.02)


def test_two_processes_predict_each_clip_once(trained):
    one, two = (pd.read_csv(trained[name] / "predictions.csv") for name in ("one", "two"))
    assert two["clip"].is_unique
    assert list(one["path"]) == list(two["path"]), "all of them, in the same order"
    columns = [f"p{digit}" for digit in range(10)]
    assert np.allclose(one[columns], two[columns], atol=2e-3)


def test_two_processes_read_each_file_once_and_in_order(trained, fsdd_root, tmp_path):
    files = [str(path) for path in sorted((fsdd_root / "recordings").glob("*_jackson_7.wav"))]
    (tmp_path / "text.wav").write_text("no sound")
    files.insert(3, str(tmp_path / "text.wav"))
    model = str(trained["one"] / "model.safetensors")
    tables = [tmp_path / "alone.csv", tmp_path / "both.csv"]
    alone, both = (
        run(launcher, "predict", "--model", model, *files, "--out", str(table), fsdd_root=fsdd_root)
        for launcher, table in zip((["-m", "spokendigits"], TWO), tables, strict=True)
    )
    assert tables[0].read_bytes() == tables[1].read_bytes(), "one process writes the table"
    assert alone.returncode == 1 and both.returncode == 1, "one file is no recording"
    said = [line for line in both.stdout.splitlines() if "\t" in line]
    assert said == alone.stdout.splitlines()
    assert [line.split("\t")[0] for line in said] == files[:3] + files[4:]
    assert len(re.findall(r"error: .*text\.wav", both.stderr)) == 1


def test_processes_that_cannot_share_a_batch_say_so(fsdd_root):
    done = run(
        TWO,
        "train",
        "--corpus",
        "fsdd",
        "--name",
        "odd",
        "--set",
        "batch_size=15",
        "--set",
        "takes=5",
        fsdd_root=fsdd_root,
    )
    assert done.returncode != 0
    assert "2 processes must share every batch equally. Make batch_size (15) a multiple" in done.stderr


def test_one_process_leaves_no_trace_of_the_others(trained):
    assert sorted(path.name for path in trained["one"].iterdir()) == sorted(
        path.name for path in trained["two"].iterdir()
    )
    assert read_json(trained["two"] / "run.json")["recipe"] == read_json(trained["one"] / "run.json")["recipe"]

"""Two processes, as `accelerate launch` starts them, do together what one does alone."""

import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from spokendigits.app import cli
from spokendigits.errors import CourseError
from spokendigits.files import read_json
from spokendigits.splits import split
from spokendigits.training import check_sizes

pytestmark = pytest.mark.slow
# Layer norm looks at one clip at a time, so two processes differ from one by rounding alone. Float32 keeps that small.
SETTINGS = {
    "backbone": "test_convnext.r160_in1k",
    "weights": "none",
    "mixed_precision": "false",
    "n_mels": 32,
    "takes": 5,
    "epochs": 2,
    "batch_size": 16,
}
TWO = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
TWO += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m", "spokendigits"]


def by_two(*arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *TWO, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)


@pytest.fixture(scope="module")
def trained(fsdd_root, tmp_path_factory):
    """The same training by one process and by two: {"one": folder, "two": folder}."""
    home = tmp_path_factory.mktemp("distributed")
    command = ["train", "--corpus", "fsdd", *(f"--set={name}={value}" for name, value in SETTINGS.items()), "--name"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPOKENDIGITS_HOME", str(home))
        patch.setenv("SPOKENDIGITS_DATA", str(fsdd_root.parent))
        assert cli.main([*command, "one"]) == 0
        done = by_two(*command, "two")
        assert done.returncode == 0, done.stderr[-2000:]
    return {name: home / "runs" / name for name in ("one", "two")}


def test_two_processes_train_as_one_and_predict_each_clip_once(trained):
    one, two = (pd.read_csv(trained[name] / "steps.csv") for name in ("one", "two"))
    rates = ["step", "learning_rate"]
    assert np.array_equal(one[rates], two[rates]), "batch and rate are the recipe's"
    assert np.allclose(one["loss"], two["loss"], rtol=1e-3)
    one, two = (pd.read_csv(trained[name] / "history.csv") for name in ("one", "two"))
    assert np.allclose(one[["loss", "log_loss"]], two[["loss", "log_loss"]], rtol=1e-3)
    assert np.allclose(one["accuracy"], two["accuracy"], atol=0.02)
    one, two = (pd.read_csv(trained[name] / "predictions.csv") for name in ("one", "two"))
    assert two["clip"].is_unique and list(one["path"]) == list(two["path"]), "all of them, in the same order"
    columns = [f"p{digit}" for digit in range(10)]
    assert np.allclose(one[columns], two[columns], atol=2e-3)
    names = [sorted(path.name for path in folder.iterdir()) for folder in trained.values()]
    assert names[0] == names[1], "one process leaves no trace of the others"
    assert read_json(trained["two"] / "run.json")["recipe"] == read_json(trained["one"] / "run.json")["recipe"]


def test_two_processes_read_each_file_once_and_in_order(trained, fsdd_root, tmp_path, capsys):
    files = [str(path) for path in sorted((fsdd_root / "recordings").glob("*_jackson_7.wav"))]
    (tmp_path / "text.wav").write_text("no sound")
    files.insert(3, str(tmp_path / "text.wav"))
    command = ["predict", "--model", str(trained["one"] / "model.safetensors"), *files, "--out"]
    assert cli.main([*command, str(tmp_path / "alone.csv")]) == 1, "one file is no recording"
    alone = capsys.readouterr().out
    both = by_two(*command, str(tmp_path / "both.csv"))
    assert both.returncode == 1
    one, two = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("alone", "both"))
    pd.testing.assert_frame_equal(one, two, rtol=1e-3, atol=1e-4)
    said = [line for line in both.stdout.splitlines() if "\t" in line]
    assert [line.split("\t")[:4] for line in said] == [line.split("\t")[:4] for line in alone.splitlines()]
    assert [line.split("\t")[0] for line in said] == files[:3] + files[4:]
    assert len(re.findall(r"error: .*text\.wav", both.stderr)) == 1


def test_processes_that_cannot_share_a_batch_say_so(tones, recipe):
    with pytest.raises(
        CourseError, match=r"2 processes must share every batch equally. Make batch_size \(15\) a multiple"
    ):
        check_sizes(recipe.but(batch_size=15), tones, split(tones), 2)

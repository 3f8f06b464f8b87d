"""The places where the notebooks run: a stand-in for Colab, what Binder would build, and a JupyterHub's seats. test_lab.py has JupyterLab.

Colab itself, and conda, are not asked: no test needs the internet. The longer trial of Colab's stand-in installs Colab's
own versions from the package index, into an environment of its own, and runs all of notebook 1 there:

    SPOKENDIGITS_COLAB=python3.13 .venv/bin/python -m pytest tests/test_places.py -k colab
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.metadata import distribution, distributions
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from spokendigits import corpora, files
from spokendigits.app import cli
from spokendigits.clips import make_clips
from spokendigits.corpora import synthetic
from spokendigits.splits import split
from spokendigits.training import train_or_load

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())
# Of the extra `course`, what cells and the modules that they import need; the rest makes the book.
FOR_CELLS = {"captum", "cleanlab", "ipython", "librosa", "pillow", "pyroomacoustics", "torchmetrics"}
ASKED = [Requirement(one) for one in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["course"]]
NEEDS = {canonicalize_name(one.name): one for one in ASKED[: len(PROJECT["dependencies"])]}
NEEDS |= {one.name: one for one in ASKED if one.name in FOR_CELLS}
NOTEBOOK = ROOT / "notebooks" / "01_data.ipynb"

# What Colab has of all that the course needs, and what runs its cells. Colab publishes the list of its packages:
# github.com/googlecolab/backend-info, pip-freeze.gpu.txt and os-info-gpu.txt. The Python and the versions of `accelerate`,
# `huggingface-hub`, `numpy`, `pandas`, `pydantic`, `safetensors` and `torch` are as in October 2026; the rest as in June (commit
# 03a89033), `numba` and `llvmlite` the oldest for that Python. Whoever renews the list renews its Python as well.
COLAB_PYTHON = "3.13.15"
COLAB = {
    "accelerate": "1.15.0",
    "cython": "3.0.12",
    "flatbuffers": "25.12.19",
    "httpx": "0.28.1",
    "huggingface-hub": "1.33.0",
    "ipykernel": "6.17.1",
    "ipython": "7.34.0",
    "ipywidgets": "7.7.1",
    "jinja2": "3.1.6",
    "jupyter-client": "7.4.9",
    "librosa": "0.11.0",
    "llvmlite": "0.44.0",
    "matplotlib": "3.10.0",
    "ml-dtypes": "0.5.4",
    "numba": "0.61.2",
    "numpy": "2.1.3",
    "packaging": "26.2",
    "pandas": "2.2.3",
    "pillow": "11.3.0",
    "pip": "24.1.2",
    "pooch": "1.9.0",
    "protobuf": "5.29.6",
    "pydantic": "2.13.5",
    "pyyaml": "6.0.3",
    "requests": "2.32.4",
    "safetensors": "0.8.0",
    "scikit-learn": "1.6.1",
    "scipy": "1.16.3",
    "seaborn": "0.13.2",
    "setuptools": "75.2.0",
    "soundfile": "0.13.1",
    "soxr": "1.1.0",
    "termcolor": "3.3.0",
    "timm": "1.0.27",
    "torch": "2.11.0",
    "torchaudio": "2.11.0",
    "torchvision": "0.26.0",
    "tqdm": "4.67.3",
}
LACKING = NEEDS.keys() - COLAB.keys()
# What these bring with them that Colab does not have either.
IN_THEIR_WAKE = {"latexcodec", "lightning-utilities", "onnx-ir"}
TORCH = ("torch", "torchaudio", "torchvision")

# On Colab this module is there from the kernel's start.
KERNEL = "import google.colab; from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"
# Every package that an environment finds, with its version and the digest of its list of files; for torch, each of its
# files too: size and time of last change.
LOOK = f"""
import hashlib, importlib.metadata as m, json, re
found, files = {{}}, {{}}
for one in m.distributions():
    name = re.sub("[-_.]+", "-", one.name).lower()
    record = hashlib.sha256((one.read_text("RECORD") or "").encode()).hexdigest()
    found.setdefault(name, [one.version, record, str(one.locate_file(""))])
    if name in {TORCH!r} and name not in files:
        there = [path for path in map(lambda file: file.locate(), one.files) if path.is_file()]
        files[name] = [[path.stat().st_size, path.stat().st_mtime_ns] for path in there if path.suffix != ".pyc"]
print(json.dumps([found, files]))
"""


def bootstrap() -> str:
    (cell,) = [one for one in nbformat.read(NOTEBOOK, 4).cells if "bootstrap" in one.metadata.get("tags", [])]
    return cell.source


def test_the_bootstrap_installs_exactly_what_colab_lacks_and_colab_is_new_enough_for_the_rest():
    *_, lacking = re.findall(r"'pip', '(.+)'", TransformerManager().transform_cell(bootstrap()))
    named = {canonicalize_name(word) for word in lacking.split()} - {"install", "-q", "-c", "colab-txt"}
    assert named <= NEEDS.keys(), "the cell installs what the course does not need"
    assert named >= LACKING, "the course imports what is on Colab neither before the cell nor after it"
    old = {name: version for name, version in COLAB.items() if name in NEEDS and version not in NEEDS[name].specifier}
    assert old == {}, "the package is installed with --no-deps there, so pip would not say it"
    assert COLAB_PYTHON in Requirement(f"python{PROJECT['requires-python']}").specifier


@pytest.fixture
def remote(tmp_path, monkeypatch) -> Path:
    """A git repository with this checkout's package as its release, which git takes for the course's own address."""
    folder = tmp_path / "remote"
    for name in ("spokendigits", "book"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for command in (("init", "-q"), ("add", "-A"), (*who, "commit", "-qm", "x"), ("tag", f"v{PROJECT['version']}")):
        subprocess.run(["git", *command], cwd=folder, check=True)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{folder.as_uri()}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", CONFIG["repository"]["url"])
    for name in ("SPOKENDIGITS_HOME", "SPOKENDIGITS_DATA"):
        monkeypatch.delenv(name, raising=False)
    return folder


def wheel(name: str, folder: Path) -> None:
    """Puts an installed package back into a wheel in `folder`."""
    package = distribution(name)
    tag = re.findall(r"^Tag: (.+)$", package.read_text("WHEEL"), re.MULTILINE)[-1]  # the first may be Python 2's
    path = folder / f"{name.replace('-', '_')}-{package.version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for one in package.files:
            if ".." not in one.parts and one.suffix != ".pyc":
                file.write(one.locate(), one)


def layered(folder: Path, monkeypatch) -> Path:
    """A Python that finds all packages of this environment but the course and what Colab lacks; and an index of the latter.

    The packages are links in a folder outside of it, so that nothing that pip does there can reach this environment.
    """
    base, python = folder / "dist-packages", folder / "venv" / "bin" / "python"
    base.mkdir(parents=True)
    for path in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        hidden = {
            file.parts[0]
            for package in distributions(path=[path])
            if canonicalize_name(package.name) in {"spokendigits", *LACKING, *IN_THEIR_WAKE}
            for file in package.files
        }
        for entry in Path(path).iterdir():
            if entry.name not in hidden and entry.suffix != ".pth":
                (base / entry.name).symlink_to(entry)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", python.parent.parent], check=True)
    (site_packages(python) / "colab.pth").write_text(f"{base}\n")
    for name in {*LACKING, *IN_THEIR_WAKE}:
        wheel(name, folder)
    for option, value in {"NO_INDEX": "1", "FIND_LINKS": folder, "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{option}", str(value))
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_NO_COMPILE", "1")  # a quarter of the time; Python compiles what is imported
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # setuptools is there; this odd value is pip's way to say so
    return python


def site_packages(python: Path) -> Path:
    """An environment's own folder of packages."""
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True).stdout.strip())


def look(python: Path) -> tuple[dict, dict]:
    """The packages of an environment, and torch's files, by LOOK."""
    done = subprocess.run([python, "-c", LOOK], check=True, capture_output=True, text=True, cwd=python.parent)
    found, files = json.loads(done.stdout)
    return found, files


def run_there(python: Path, sources: list[str], folder: Path, monkeypatch) -> list[str]:
    """Runs cells in one kernel of that Python, which never restarts, in `folder`; returns what each printed."""
    colab = site_packages(python) / "google" / "colab"
    colab.mkdir(parents=True)
    (colab / "__init__.py").touch()
    spec = folder / "jupyter" / "kernels" / "colab" / "kernel.json"
    spec.parent.mkdir(parents=True)
    argv = [str(python), "-c", KERNEL, "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "Colab's stand-in", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    content = folder / "content"
    content.mkdir()
    NotebookClient(notebook, timeout=600, kernel_name="colab", resources={"metadata": {"path": content}}).execute()
    return ["".join(output.get("text", "") for output in cell.outputs) for cell in notebook.cells]


def check_what_changed(before: tuple[dict, dict], after: tuple[dict, dict]) -> None:
    assert before[1].keys() == set(TORCH) and after[1] == before[1], "torch's files were touched"
    assert {name: after[0].get(name) for name in before[0]} == before[0], "a package that Colab had was changed"
    assert after[0].keys() - before[0].keys() == {"spokendigits", *LACKING, *IN_THEIR_WAKE}


# What a kernel may have loaded before a reader runs the first cell.
EARLIER = "import sys, numpy, pandas, torch\nearlier = {name: sys.modules[name] for name in ('numpy', 'torch')}"
# All that was installed, used in the kernel that installed it.
SPEAKS = """
import captum, cleanlab, pyroomacoustics, torchmetrics, spokendigits
assert all(sys.modules[name] is module for name, module in earlier.items())
from spokendigits.corpora import espeak, synthetic
from spokendigits.files import data_folder
voice = synthetic.SPEAKERS[0]
one = synthetic.utterances(voice, 1, 0)
spoken = list(espeak.speak_all([voice.job(data_folder() / "one" / voice.name, one)], 1))
recordings = corpora.load(str(data_folder() / "one"))
print(len(recordings), spokendigits.__file__, recordings.root, lanes.stored("full")["prose"]["full_clips"])
"""


def test_colab_keeps_its_torch_and_the_course_runs_in_the_same_kernel(tmp_path, remote, monkeypatch):
    python = layered(tmp_path / "colab", monkeypatch)
    code = [cell.source for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    assert code[0] == bootstrap() and "from spokendigits import" in code[2]
    before = look(python)
    assert "spokendigits" not in before[0]
    *_, said = run_there(python, [EARLIER, *code[:3], SPEAKS], tmp_path, monkeypatch)
    check_what_changed(before, look(python))
    clips, package, made, stored = said.splitlines()[-1].split()
    assert clips == "10" and Path(package).is_relative_to(site_packages(python)), "the course that the cell installed"
    assert Path(made).is_relative_to(tmp_path / "content"), "recordings are kept where Colab shows a reader's files"
    assert stored == "30,000"


@pytest.mark.skipif("SPOKENDIGITS_COLAB" not in os.environ, reason="the long trial: see the top of this file")
def test_colab_with_its_own_versions_runs_notebook_1(tmp_path, remote, monkeypatch):
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([os.environ["SPOKENDIGITS_COLAB"], "-m", "venv", python.parent.parent], check=True)
    pins = [f"{name}=={version}" for name, version in COLAB.items()]
    subprocess.run([python, "-m", "pip", "install", "-q", *pins], check=True)
    before = look(python)
    assert {name: before[0][name][0] for name in COLAB} == COLAB
    code = [cell.source for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    said = run_there(python, [EARLIER, *code, SPEAKS], tmp_path, monkeypatch)
    after = look(python)
    check_what_changed(before, after)
    print("\n".join(said[-2:]), {name: after[0][name][0] for name in sorted(after[0].keys() - before[0].keys())})


def test_binder_builds_the_environment_that_its_button_needs():
    """By the rules of repo2docker, which builds for Binder; neither it nor conda is run here."""
    # Any of these would be taken in place of environment.yml.
    for name in ("binder", ".binder", "Dockerfile", "Project.toml", "REQUIRE", "default.nix", "runtime.txt"):
        assert not (ROOT / name).exists(), f"{name} hides environment.yml from Binder"
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    versions = [entry.partition("=")[2] for entry in environment["dependencies"] if str(entry).startswith("python=")]
    assert versions == ["3.12"], "one of those that repo2docker has a base environment for"
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    # `-e .` has repo2docker copy the whole repository before it installs, and its button opens JupyterLab.
    (own,) = [Requirement(f"spokendigits{line.removeprefix('-e .')}") for line in pip if line.startswith("-e .")]
    assert "course" in own.extras
    assert "jupyterlab" in {Requirement(one).name for one in PROJECT["optional-dependencies"]["course"]}
    assert all((ROOT / name).is_file() for name in (PROJECT["readme"], *PROJECT["license-files"]))


def test_the_page_on_jupyterhubs_names_the_repository_and_what_the_code_reads():
    page = (ROOT / "book/jupyterhub.md").read_text(encoding="utf-8")
    address, branch = CONFIG["repository"]["url"], CONFIG["repository"]["branch"]
    assert f"git clone {address} " in page
    notebook = quote(f"lab/tree/{address.rpartition('/')[2]}/notebooks/{NOTEBOOK.name}", safe="")
    assert f"git-pull?repo={quote(address, safe='')}&branch={branch}&urlpath={notebook}" in page
    named = set(re.findall(r"\bSPOKENDIGITS_[A-Z]+", page))
    assert named == {"SPOKENDIGITS_HOME", "SPOKENDIGITS_DATA"}
    (values,) = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    assert values["singleuser"]["extraEnv"].keys() == named | {"OMP_NUM_THREADS"}
    (python,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    spawner = SimpleNamespace()
    exec(python, {"c": SimpleNamespace(Spawner=spawner)})
    assert spawner.environment.keys() == named | {"OMP_NUM_THREADS"}
    for line in re.findall(r"bin/spokendigits (.+)", page):
        cli.parser().parse_args(shlex.split(line))


def test_a_home_with_a_tilde_is_each_students_own(monkeypatch):
    """Hubs set one environment for all; JupyterHub does not expand it."""
    monkeypatch.setenv("HOME", "/home/jupyter-anna")
    monkeypatch.setenv("SPOKENDIGITS_HOME", "~/spokendigits")
    assert files.home() == Path("/home/jupyter-anna/spokendigits").resolve()


def test_a_copied_home_and_a_shared_folder_train_nothing_and_stay_as_they_were(tmp_path, monkeypatch, recipe):
    """Step 2 of the page: a teacher's home is copied, the recordings move to a folder that all students read."""
    voices = synthetic.SPEAKERS[:6]
    monkeypatch.setattr(synthetic, "SPEAKERS", voices)
    recipe = recipe.but(corpus="synthetic", epochs=1, speakers=None, takes=2)
    teacher, student, shared = (tmp_path / name for name in ("teacher", "student", "shared"))

    def work(home: Path) -> Path:
        monkeypatch.setenv("SPOKENDIGITS_HOME", str(home))
        recordings = corpora.load("synthetic", takes=2, progress=False)
        clips = make_clips(recordings, recipe, progress=False)
        parts = split(recordings, "random", recipe.folds, recipe.fold, recipe.seed)
        train_or_load(recipe, recordings, clips, parts, home / "runs" / "random", progress=False)
        return recordings.root

    def state(folder: Path) -> dict[Path, tuple]:
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}

    work(teacher)
    shutil.move(teacher / "data" / "synthetic", shared / "synthetic")
    shutil.copytree(teacher, student)
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(shared))
    before = state(shared), state(student)
    assert work(student) == shared / "synthetic"
    assert (state(shared), state(student)) == before, "something was made again"

"""The offline pack: whole or not there, fetched once, and installed without a network, or refused with one clear line.

The lock here has one small package; its wheel and pip's are made by the tests, and pip takes them from a folder.
"""

import base64
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
import soundfile
from packaging.requirements import Requirement
from small_course import with_exercise

from spokendigits import corpora
from spokendigits.errors import CourseError
from tools import pack

ROOT = Path(__file__).resolve().parents[2]
TINY = "tiny-1.0-py3-none-any.whl"
PROJECT = """[project]
name = "{name}"
version = "1.0"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["{place}"]
"""
# Makes the small course installable without setuptools.
BACKEND = """import zipfile, pathlib
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "spokendigits-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        wheel.writestr("spokendigits.pth", str(pathlib.Path.cwd()))
        wheel.writestr("spokendigits-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: spokendigits\\nVersion: 1.0\\n")
        wheel.writestr("spokendigits-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("spokendigits-1.0.dist-info/RECORD", "")
    return name
"""


def write_wheel(folder: Path, file: str, source: str = "answer = 42\n", requires: str = "") -> Path:
    """A wheel with one module; the file's name says which package, version and platform."""
    name, version, tag = file.removesuffix(".whl").split("-", 2)
    files = {
        f"{name}.py": source,
        f"{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{name}-{version}.dist-info/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},{len(text)}\n"
        for path, text in files.items()
    )
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / file, "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        wheel.writestr(f"{name}-{version}.dist-info/RECORD", record)
    return folder / file


@pytest.fixture(scope="session")
def pip_wheel(tmp_path_factory) -> Path:
    """The installed pip as a wheel again."""
    installed = distribution("pip")
    path = tmp_path_factory.mktemp("pip") / f"pip-{installed.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file in installed.files:
            if file.parts[0] != ".." and file.suffix != ".pyc":
                wheel.write(file.locate(), str(file))
    return path


@pytest.fixture
def index(tmp_path, monkeypatch, pip_wheel) -> Path:
    """The only place where pip finds packages."""
    folder = tmp_path / "index"
    write_wheel(folder, TINY)
    shutil.copy(pip_wheel, folder)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


@pytest.fixture(scope="session")
def speech(tmp_path_factory) -> Path:
    """A synthetic corpus of one voice with one take of each digit."""
    folder = tmp_path_factory.mktemp("speech") / "synthetic"
    (folder / "s01").mkdir(parents=True)
    for digit in range(10):
        soundfile.write(folder / "s01" / f"{digit}_s01_0.wav", np.zeros(2000), 22_050, subtype="PCM_16")
    (folder / "speakers.csv").write_text("speaker,gender,accent,variant\ns01,male,en,m1\n")
    record = {"takes": 1, "seed": 0, "recipe": 1, "espeak": "1", "speakers": ["s01"]}
    (folder / "corpus.json").write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="session")
def kept(tmp_path_factory, pip_wheel) -> Path:
    """Wheels that were fetched before."""
    folder = tmp_path_factory.mktemp("kept")
    shutil.copy(pip_wheel, folder)
    write_wheel(folder, TINY)
    pack.write_sums(folder / "SHA256SUMS", {path.name: pack.sha256(path) for path in folder.glob("*.whl")})
    return folder


@pytest.fixture
def checkout(tmp_path, index, speech, kept, monkeypatch) -> Path:
    """A small checkout; its corpus is made, its wheels are fetched."""
    monkeypatch.setattr(corpora, "fetch", lambda name, root, takes: {("synthetic", pack.TAKES): speech}[name, takes])
    monkeypatch.delenv("SPOKENDIGITS_DATA", raising=False)
    folder = tmp_path / "checkout"
    for name in pack.COURSE:
        path = folder / name
        if (ROOT / name).is_dir():
            path.mkdir(parents=True)
            (path / "__init__.py").write_text("")
        else:
            path.write_text("")
    (folder / "spokendigits" / "__pycache__").mkdir()
    (folder / "data").mkdir()  # a reader's own
    (folder / "pyproject.toml").write_text(PROJECT.format(name="spokendigits", place="tools"))
    (folder / "tools" / "backend.py").write_text(BACKEND)
    (folder / "requirements.lock").write_text("tiny==1.0\nabsent==1.0 ; sys_platform == 'none'\n")
    with_exercise(folder / "notebooks", "solution")
    shutil.copytree(kept, folder / "_build" / "pack-cache" / "wheels")
    return folder


@pytest.fixture
def html(tmp_path) -> Path:
    folder = tmp_path / "html"
    folder.mkdir()
    (folder / "index.html").write_text("<h1>The book</h1>")
    return folder


@pytest.fixture
def made(checkout, html) -> Path:
    return pack.write(html=html, source=checkout)


def install(made: Path, target: Path, script: str = "install.py") -> subprocess.CompletedProcess:
    """Runs the installer under another account, whose settings of pip must not matter."""
    home = target.parent / "account"
    (home / ".config" / "pip").mkdir(parents=True, exist_ok=True)
    (home / ".config" / "pip" / "pip.conf").write_text(f"[install]\ntarget = {home}\n")
    clean = {"HOME": str(home), "PATH": os.environ["PATH"], "PIP_INDEX_URL": "http://127.0.0.1:9/no"}
    command = [sys.executable, str(made / script)] if script.endswith(".py") else ["sh", str(made / script)]
    return subprocess.run([*command, str(target)], capture_output=True, text=True, env=clean, cwd=home, check=False)


def refused(made: Path, target: Path) -> str:
    """The one line with which the installer stopped."""
    done = install(made, target)
    assert done.returncode == 1 and not target.exists()
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_what_is_in_it(made, checkout):
    assert made == checkout / "_build" / "pack"
    parts = {"course", "students", "book", "data", "wheels"}
    files = {"README.txt", "install.py", "install.sh", "install.bat", "pack.json", "requirements.txt", "SHA256SUMS"}
    assert {path.name for path in made.iterdir()} == parts | files
    assert {path.name for path in (made / "course").iterdir()} == set(pack.COURSE), "and nothing that was made there"
    assert not list(made.rglob("__pycache__"))
    assert (made / "requirements.txt").read_text().startswith("tiny==1.0\n")
    assert TINY in {path.name for path in (made / "wheels").iterdir()}
    assert len((made / "README.txt").read_text().splitlines()) == 3
    solved, copy = ((made / part / "01_small.ipynb").read_text() for part in ("course/notebooks", "students"))
    assert "the whole trick" in solved and "the whole trick" not in copy
    assert len(list((made / "data" / "synthetic").rglob("*.wav"))) == 10
    assert "espeak-ng" in (made / "data" / "LICENCES.txt").read_text()


def test_the_list_covers_every_file(made):
    listed = pack.read_sums(made / "SHA256SUMS")
    there = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert set(listed) == there - {"SHA256SUMS"}
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=made, check=True)


def test_its_course_is_the_repository():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    top = {name.split("/")[0] for name in listed.stdout.splitlines()}
    assert set(pack.COURSE) - {"tools"} == {name for name in top if not name.startswith(".")} - {"tools"}


def test_it_installs_without_a_network(made, tmp_path):
    target = tmp_path / "a class room"
    target.mkdir()
    for name in (".installing", "half"):  # as a stopped installation leaves it
        (target / name).touch()
    done = install(made, target, "install.sh")
    assert done.returncode == 0, done.stderr
    assert f"cd {target}" in done.stdout and "jupyter lab" in done.stdout
    program = "import tiny, spokendigits; print(tiny.answer, spokendigits.__path__[0])"
    said = subprocess.run(
        [target / ".venv/bin/python", "-I", "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert said == f"42 {target / 'spokendigits'}\n"
    for place in ("notebooks/01_small.ipynb", "students/01_small.ipynb", "_build/book/html/index.html"):
        assert (target / place).is_file()
    assert len(corpora.read("synthetic", target / "data" / "synthetic")) == 10
    assert (target / ".venv" / ".ready").stat().st_mtime >= (target / "pyproject.toml").stat().st_mtime
    assert not (target / ".installing").exists() and not (target / "half").exists()
    assert "is there already" in install(made, target).stderr
    assert (target / "students/01_small.ipynb").is_file(), "nobody's work is lost"


def change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name",
    [f"wheels/{TINY}", "course/pyproject.toml", "data/synthetic/s01/7_s01_0.wav", "pack.json"],
)
@pytest.mark.parametrize("fault", [change, Path.unlink])
def test_a_wrong_or_missing_file_is_named(fault, name, made, tmp_path):
    fault(made / name)
    line = refused(made, tmp_path / "target")
    assert str(made / name) in line and ("missing" if fault is Path.unlink else "not the file that was packed") in line


def test_a_pack_without_its_list_is_refused(made, tmp_path):
    (made / "SHA256SUMS").unlink()
    assert "SHA256SUMS: missing. This pack is not whole" in refused(made, tmp_path / "target")


def test_a_wheel_that_was_added_is_refused(made, tmp_path):
    """pip would take it: its build number makes it the newer one."""
    added = write_wheel(made / "wheels", "tiny-1.0-1-py3-none-any.whl", "answer = 0\n")
    assert f"{added}: is not part of this pack" in refused(made, tmp_path / "target")


def test_a_pack_for_another_computer_is_refused(made, tmp_path):
    about = json.loads((made / "pack.json").read_text())
    about["made_for"] = [
        {"system": "none", "machine": "none", "python": "3.11", "oldest": "3.11.0", "name": "None with Python 3.11"}
    ]
    (made / "pack.json").write_text(json.dumps(about))
    sums = pack.read_sums(made / "SHA256SUMS") | {"pack.json": pack.sha256(made / "pack.json")}
    pack.write_sums(made / "SHA256SUMS", sums)
    assert "the pack is for: None with Python 3.11" in refused(made, tmp_path / "target")


def test_a_python_that_is_too_old_is_refused(checkout, html, tmp_path):
    """Some packages leave out the first releases of a Python, which many systems still have."""
    python = "{}.{}".format(*sys.version_info)
    wheels = checkout / "_build" / "pack-cache" / "wheels"
    wheel = write_wheel(wheels, "small-2.0-py3-none-any.whl", requires=f"Requires-Python: >={python}.99\n")
    pack.write_sums(wheels / "SHA256SUMS", pack.read_sums(wheels / "SHA256SUMS") | {wheel.name: pack.sha256(wheel)})
    (checkout / "requirements.lock").write_text("small==2.0\n")
    made = pack.write(html=html, source=checkout)
    line = refused(made, tmp_path / "target")
    assert f"with Python {platform.python_version()}" in line and f"({python}.99 or newer)" in line


def test_a_failing_step_leaves_nothing(made, tmp_path):
    """A lock that asks for more than the pack holds, as after an edit by hand."""
    (made / "requirements.txt").write_text("absent==1.0\n")
    sums = pack.read_sums(made / "SHA256SUMS") | {"requirements.txt": pack.sha256(made / "requirements.txt")}
    pack.write_sums(made / "SHA256SUMS", sums)
    done = install(made, tmp_path / "target")
    assert done.returncode == 1 and "absent==1.0" in done.stderr and not (tmp_path / "target").exists()


def test_nothing_is_fetched_twice(made, checkout, html, monkeypatch):
    monkeypatch.setattr(pack.Wheels, "_fetch", None)
    (made / "wheels" / TINY).unlink()
    again = pack.write(html=html, source=checkout)
    assert (again / "wheels" / TINY).is_file()


def test_a_wheel_that_changed_since_is_fetched_again(made, checkout, index, html):
    wheel = checkout / "_build" / "pack-cache" / "wheels" / TINY
    change(wheel)
    again = pack.write(html=html, source=checkout)
    good = (index / TINY).read_bytes()
    assert wheel.read_bytes() == good == (again / "wheels" / TINY).read_bytes()


@pytest.mark.parametrize("before", [False, True], ids=["new", "again"])
def test_a_stopped_run_leaves_no_pack(before, checkout, html, monkeypatch, tmp_path):
    target = tmp_path / "stick" / "pack"
    if before:
        pack.write(target, html=html, source=checkout)
    old = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert bool(old) == before

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pack, "write_installer", stop)
    with pytest.raises(KeyboardInterrupt):
        pack.write(target, html=html, source=checkout)
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == old
    assert [path.name for path in target.parent.iterdir()] == ["pack"] * before


def test_a_stop_while_fetching_keeps_what_came(checkout, index, html, monkeypatch):
    for name in ("small-2.0", "more-1.0"):
        write_wheel(index, f"{name}-py3-none-any.whl")
    (checkout / "requirements.lock").write_text("small==2.0\nmore==1.0\n")
    monkeypatch.setattr(pack, "AT_ONCE", 1)
    real, asked = pack.Wheels._fetch, []

    def one_then_stop(self, requirements, *rest):
        asked.extend(requirements)
        if len(asked) == 2:
            raise KeyboardInterrupt
        real(self, requirements, *rest)

    monkeypatch.setattr(pack.Wheels, "_fetch", one_then_stop)
    with pytest.raises(KeyboardInterrupt):
        pack.write(html=html, source=checkout)
    assert not (checkout / "_build" / "pack").exists()
    pack.write(html=html, source=checkout)
    assert asked == ["small==2.0", "more==1.0", "more==1.0"]


def test_a_package_that_cannot_be_had_is_named(checkout, index, html):
    (checkout / "requirements.lock").write_text("small==2.0\n")
    with pytest.raises(CourseError, match=r"small==2\.0"):
        pack.write(html=html, source=checkout)
    assert not (checkout / "_build" / "pack").exists()


def test_a_package_without_a_wheel_is_built(checkout, index, html, tmp_path):
    """From its source, in the archive that pip finds."""
    import tarfile

    folder = tmp_path / "tiny-1.0"
    folder.mkdir()
    (folder / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    (folder / "pyproject.toml").write_text(PROJECT.format(name="tiny", place="."))
    backend = BACKEND.replace("build_editable", "build_wheel").replace("spokendigits", "tiny")
    (folder / "backend.py").write_text(backend)
    for folder_of_wheels in (index, checkout / "_build" / "pack-cache" / "wheels"):
        (folder_of_wheels / TINY).unlink()
    with tarfile.open(index / "tiny-1.0.tar.gz", "w:gz") as archive:
        archive.add(folder, "tiny-1.0")
    made = pack.write(html=html, source=checkout)
    assert TINY in {path.name for path in (made / "wheels").iterdir()}


def test_a_folder_with_something_else_is_left_alone(checkout, html, tmp_path, monkeypatch):
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / "holiday.jpg").touch()
    with pytest.raises(CourseError, match=r"holds something else.*stick/spokendigits"):
        pack.write(tmp_path / "stick", html=html, source=checkout)
    assert (tmp_path / "stick" / "holiday.jpg").is_file()
    with pytest.raises(CourseError, match="is a whole disk"):
        pack.write("/", html=html, source=checkout)


class TestPyTorch:
    """On Linux pip's usual PyTorch is for GPUs; a package index for the CPU has versions such as 1.0+cpu."""

    LINUX = pack.Computer.named("linux-3.12")
    LOCK = "torch==1.0\ntorchaudio==1.0\nnvidia-cublas==1.0 ; sys_platform == 'linux'\ntriton==1.0 ; sys_platform == 'linux'\ntiny==1.0\n"

    def gather(self, tmp_path, index, kept, version, cpu=False, computer=LINUX):
        for name in ("torch", "torchaudio"):
            write_wheel(index, f"{name}-{version}-py3-none-any.whl")
        for name in ("nvidia_cublas", "triton"):
            write_wheel(index, f"{name}-1.0-py3-none-any.whl")
        (tmp_path / "lock").write_text(self.LOCK)
        if not (tmp_path / "wheels").is_dir():
            shutil.copytree(kept, tmp_path / "wheels")
        lines, wheels = pack.gather(tmp_path / "lock", [computer], cpu, pack.Wheels(tmp_path / "wheels"))
        return [line.name for line in lines], {path.name.split("-py3")[0] for path in wheels}

    def test_the_build_for_gpus_brings_its_libraries(self, tmp_path, index, kept, capsys):
        lines, wheels = self.gather(tmp_path, index, kept, "1.0")
        assert lines == ["torch", "torchaudio", "nvidia-cublas", "triton", "tiny"]
        assert {"torch-1.0", "nvidia_cublas-1.0", "triton-1.0"} <= wheels
        assert "add --cpu" in capsys.readouterr().out

    @pytest.mark.parametrize("cpu", [False, True])
    def test_the_build_for_cpus_does_not(self, cpu, tmp_path, index, kept):
        lines, wheels = self.gather(tmp_path, index, kept, "1.0+cpu", cpu)
        assert lines == ["torch", "torchaudio", "tiny"]
        assert {"torch-1.0+cpu", "torchaudio-1.0+cpu", "tiny-1.0"} < wheels and not {"triton-1.0"} & wheels

    def test_cpu_is_not_to_be_had(self, tmp_path, index, kept):
        with pytest.raises(CourseError, match=r"torch==1\.0\+cpu"):
            self.gather(tmp_path, index, kept, "1.0", cpu=True)

    def test_cpu_after_a_pack_for_gpus(self, tmp_path, index, kept):
        self.gather(tmp_path, index, kept, "1.0")
        lines, wheels = self.gather(tmp_path, index, kept, "1.0+cpu", cpu=True)
        assert "triton" not in lines and "torch-1.0+cpu" in wheels and "torch-1.0" not in wheels

    def test_windows_needs_no_such_choice(self, tmp_path, index, kept):
        lines, wheels = self.gather(tmp_path, index, kept, "1.0", True, pack.Computer.named("windows-3.12"))
        assert lines == ["torch", "torchaudio", "tiny"] and "torch-1.0" in wheels

    def test_the_installer_takes_the_build_for_cpus(self, checkout, index, html, tmp_path):
        (checkout / "requirements.lock").write_text(self.LOCK)
        write_wheel(index, "torch-1.0+cpu-py3-none-any.whl", "kind = 'cpu'\n")
        write_wheel(index, "torchaudio-1.0+cpu-py3-none-any.whl", requires="Requires-Dist: torch==1.0\n")
        done = install(pack.write(html=html, source=checkout), tmp_path / "target")
        assert done.returncode == 0, done.stderr
        said = subprocess.run(
            [tmp_path / "target/.venv/bin/python", "-I", "-c", "import torch; print(torch.kind)"],
            capture_output=True,
            text=True,
        )
        assert said.stdout == "cpu\n"


def test_wheels_for_other_computers(tmp_path, index):
    tags = {
        "windows-3.12": "cp312-cp312-win_amd64",
        "windows-3.11": "cp311-cp311-win_amd64",
        "macos-3.11": "cp311-cp311-macosx_11_0_arm64",
        "linux-3.12": "cp312-cp312-manylinux_2_28_x86_64",
    }
    for tag in tags.values():
        write_wheel(index, f"built-3.0-{tag}.whl")
    wheels = pack.Wheels(tmp_path / "wheels")
    for name, tag in tags.items():
        assert [path.name for path in wheels.get([Requirement("built==3.0")], pack.Computer.named(name))] == [
            f"built-3.0-{tag}.whl"
        ]


def test_a_computer_that_nobody_knows():
    with pytest.raises(CourseError, match=r"windows-3\.12"):
        pack.Computer.named("amiga-3.12")


def test_recordings_that_are_not_whole_stop_it(checkout, html, speech, monkeypatch, tmp_path):
    shared = tmp_path / "shared"
    (shared / "fsdd" / "recordings").mkdir(parents=True)
    shutil.copy(speech / "s01" / "7_s01_0.wav", shared / "fsdd" / "recordings" / "7_jackson_0.wav")
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(shared))
    with pytest.raises(CourseError, match=r"2999 file.* missing.*spokendigits fetch fsdd"):
        pack.write(html=html, source=checkout)


def test_fsdd_is_taken_along(checkout, html, fsdd_root, monkeypatch):
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(fsdd_root.parent))
    made = pack.write(html=html, source=checkout)
    assert len(corpora.read("fsdd", made / "data" / "fsdd")) == 3000
    assert not corpora.verify("fsdd", made / "data" / "fsdd")
    licences = (made / "data" / "LICENCES.txt").read_text()
    assert "CC BY-SA 4.0" in licences and "creativecommons.org/licenses/by-sa/4.0" in licences

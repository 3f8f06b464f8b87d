"""The offline pack: whole or not there, fetched once, and installed without a network, or refused with one clear line.

The lock here has one small package; its wheel and pip's are made by the tests, and pip takes them from a folder.
"""

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
from spokendigits.files import HALF, read_json, write_json
from tools import pack

ROOT = Path(__file__).resolve().parents[2]
TINY = "tiny-1.0-py3-none-any.whl"
LOCK = """torch==1.0
torchaudio==1.0
nvidia-cublas==1.0 ; sys_platform == 'linux'
triton==1.0 ; sys_platform == 'linux'
tiny==1.0
"""
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
        f"{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: MIT, © Zoë\n{requires}",
        f"{name}-{version}.dist-info/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{name}-{version}.dist-info/RECORD": "",
    }
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / file, "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return folder / file


@pytest.fixture(scope="session")
def kept(tmp_path_factory) -> Path:
    """Wheels that were fetched before: the installed pip as a wheel again, and the small package."""
    installed, folder = distribution("pip"), tmp_path_factory.mktemp("kept")
    with zipfile.ZipFile(folder / f"pip-{installed.version}-py3-none-any.whl", "w") as wheel:
        for file in installed.files:
            if file.parts[0] != ".." and file.suffix != ".pyc":
                wheel.write(file.locate(), str(file))
    write_wheel(folder, TINY)
    pack.write_sums(folder / "SHA256SUMS", {path.name: pack.sha256(path) for path in folder.glob("*.whl")})
    return folder


@pytest.fixture
def index(tmp_path, monkeypatch, kept) -> Path:
    """The only place where pip finds packages."""
    folder = shutil.copytree(kept, tmp_path / "index", ignore=shutil.ignore_patterns("SHA256SUMS"))
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
    (folder / "corpus.json").write_text('{"takes": 1, "seed": 0, "recipe": 1, "espeak": "1", "speakers": ["s01"]}')
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
    assert "](../book/glossary.md)" in copy, "where the installer puts them, the pages lie beside the copies"
    assert len(list((made / "data" / "synthetic").rglob("*.wav"))) == 10
    assert "espeak-ng" in (made / "data" / "LICENCES.txt").read_text()
    packages = (made / "wheels" / "LICENCES.txt").read_text()
    assert "\ntiny 1.0: MIT, © Zoë\n" in packages and "`espeakng-loader` holds" in packages and "NVIDIA" in packages
    assert "Version 3, 29 June 2007" in (made / "wheels" / "GPL-3.0.txt").read_text()
    there = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert set(pack.read_sums(made / "SHA256SUMS")) == there - {"SHA256SUMS"}
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=made, check=True)


def test_its_course_is_the_repository():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    top = {name.split("/")[0] for name in listed.stdout.splitlines()}
    assert set(pack.COURSE) == {name for name in top if not name.startswith(".")}


@pytest.mark.slow
def test_it_installs_without_a_network(checkout, index, html, tmp_path):
    """With PyTorch's build for CPUs, and over what a stopped installation left."""
    (checkout / "requirements.lock").write_text(LOCK)
    write_wheel(index, "torch-1.0+cpu-py3-none-any.whl", "kind = 'cpu'\n")
    write_wheel(index, "torchaudio-1.0+cpu-py3-none-any.whl", requires="Requires-Dist: torch==1.0\n")
    made, target = pack.write(html=html, source=checkout), tmp_path / "a class room"
    target.mkdir()
    for name in (".installing", "half"):
        (target / name).touch()
    done = install(made, target, "install.sh")
    assert done.returncode == 0, done.stderr
    assert f"cd {target}" in done.stdout and "jupyter lab" in done.stdout
    program = "import tiny, torch, spokendigits; print(tiny.answer, torch.kind, spokendigits.__path__[0])"
    line = [target / ".venv/bin/python", "-I", "-c", program]
    said = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    assert said == f"42 cpu {target / 'spokendigits'}\n"
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


def sign(folder: Path, name: str) -> None:
    """Puts a file that was changed or added by hand into a folder's list."""
    pack.write_sums(folder / "SHA256SUMS", pack.read_sums(folder / "SHA256SUMS") | {name: pack.sha256(folder / name)})


def test_a_pack_that_is_not_whole_or_for_another_computer_is_refused(made, tmp_path):
    target = tmp_path / "target"
    for name in ("pack.json", f"wheels/{TINY}"):
        whole = (made / name).read_bytes()
        change(made / name)
        assert f"{made / name}: is not the file that was packed" in refused(made, target)
        (made / name).unlink()
        assert f"{made / name}: missing" in refused(made, target)
        (made / name).write_bytes(whole)
    # pip would take this wheel: its build number makes it the newer one.
    added = write_wheel(made / "wheels", "tiny-1.0-1-py3-none-any.whl", "answer = 0\n")
    assert f"{added}: is not part of this pack" in refused(made, target)
    added.unlink()
    (made / "requirements.txt").write_text("absent==1.0\n")  # more than the pack holds, as after an edit by hand
    sign(made, "requirements.txt")
    done = install(made, target)
    assert done.returncode == 1 and "absent==1.0" in done.stderr and not target.exists()
    other = {"system": "none", "machine": "none", "python": "3.11", "oldest": "3.11.0", "name": "None with Python 3.11"}
    write_json(made / "pack.json", read_json(made / "pack.json") | {"made_for": [other]})
    sign(made, "pack.json")
    assert "the pack is for: None with Python 3.11" in refused(made, target)
    (made / "SHA256SUMS").unlink()
    assert "SHA256SUMS: missing. This pack is not whole" in refused(made, target)


def test_a_python_that_is_too_old_is_refused(checkout, html, tmp_path):
    """Some packages leave out the first releases of a Python, which many systems still have."""
    python = "{}.{}".format(*sys.version_info)
    wheels = checkout / "_build" / "pack-cache" / "wheels"
    wheel = write_wheel(wheels, "small-2.0-py3-none-any.whl", requires=f"Requires-Python: >={python}.99\n")
    sign(wheels, wheel.name)
    (checkout / "requirements.lock").write_text("small==2.0\n")
    made = pack.write(html=html, source=checkout)
    line = refused(made, tmp_path / "target")
    assert f"with Python {platform.python_version()}" in line and f"({python}.99 or newer)" in line


def test_what_was_fetched_is_kept_unless_it_changed_since(made, checkout, index, html, monkeypatch):
    wheel = checkout / "_build" / "pack-cache" / "wheels" / TINY
    with monkeypatch.context() as patch:
        patch.setattr(pack.subprocess, "run", None)
        (made / "wheels" / TINY).unlink()
        assert (pack.write(html=html, source=checkout) / "wheels" / TINY).is_file()
    change(wheel)
    again = pack.write(html=html, source=checkout)
    assert wheel.read_bytes() == (index / TINY).read_bytes() == (again / "wheels" / TINY).read_bytes()


def test_a_stopped_run_leaves_the_pack_that_was_there(made, checkout, html, monkeypatch):
    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}

    def stop(*_):
        raise KeyboardInterrupt

    old = content()
    monkeypatch.setattr(pack, "write_installer", stop)
    with pytest.raises(KeyboardInterrupt):
        pack.write(html=html, source=checkout)
    assert content() == old and sorted(path.name for path in made.parent.iterdir()) == ["pack", "pack-cache"]


def test_a_stop_while_fetching_keeps_what_came(checkout, index, html, monkeypatch):
    for name in ("small-2.0", "more-1.0"):
        write_wheel(index, f"{name}-py3-none-any.whl")
    (checkout / "requirements.lock").write_text("small==2.0\nmore==1.0\n")
    monkeypatch.setattr(pack, "AT_ONCE", 1)
    run, asked = subprocess.run, []

    def one_then_stop(command, **options):
        asked.append(command[-1])
        assert HALF in command[command.index("--wheel-dir") + 1], "what a kill leaves, the next start clears away"
        if len(asked) == 2:
            raise KeyboardInterrupt
        return run(command, **options)

    monkeypatch.setattr(pack.subprocess, "run", one_then_stop)
    with pytest.raises(KeyboardInterrupt):
        pack.write(html=html, source=checkout)
    assert not (checkout / "_build" / "pack").exists()
    pack.write(html=html, source=checkout)
    assert asked == ["small==2.0", "more==1.0", "more==1.0"]


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


def test_only_pytorchs_build_for_gpus_brings_their_libraries(tmp_path, index, kept, capsys):
    """On Linux pip's usual PyTorch is for GPUs; a package index for the CPU has versions such as 1.0+cpu."""
    (tmp_path / "lock").write_text(LOCK)
    wheels, libraries = pack.Wheels(shutil.copytree(kept, tmp_path / "wheels")), {"nvidia_cublas-1.0", "triton-1.0"}

    def gather(version: str, cpu: bool, computer: str = "linux-3.12") -> set[str]:
        """The wheels that are taken where the index has such a PyTorch."""
        for name in (f"torch-{version}", f"torchaudio-{version}", *libraries):
            write_wheel(index, f"{name}-py3-none-any.whl")
        lines, paths = pack.gather(tmp_path / "lock", [pack.Computer.named(computer)], cpu, wheels)
        names = {path.name.split("-py3")[0] for path in paths}
        assert {f"torch-{version}", f"torchaudio-{version}", "tiny-1.0"} < names
        assert ("triton" in [line.name for line in lines]) == (libraries <= names)
        return names

    assert libraries < gather("1.0", cpu=False) and "add --cpu" in capsys.readouterr().out
    assert not libraries & gather("1.0", cpu=True, computer="windows-3.12"), "which needs no such choice"
    with pytest.raises(CourseError, match=r"torch==1\.0\+cpu"):
        gather("1.0", cpu=True)
    for cpu in (True, False):
        assert not {"torch-1.0", *libraries} & gather("1.0+cpu", cpu)
    assert "add --cpu" not in capsys.readouterr().out


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
        (path,) = wheels.get([Requirement("built==3.0")], pack.Computer.named(name))
        assert path.name == f"built-3.0-{tag}.whl"
    with pytest.raises(CourseError, match=r"windows-3\.12"):
        pack.Computer.named("amiga-3.12")


def test_recordings_of_people_are_taken_along_if_they_are_whole(
    checkout, html, fsdd_root, speech, monkeypatch, tmp_path
):
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(fsdd_root.parent))
    made = pack.write(html=html, source=checkout)
    assert not corpora.verify("fsdd", made / "data" / "fsdd")
    licences = (made / "data" / "LICENCES.txt").read_text()
    assert "CC BY-SA 4.0" in licences and "creativecommons.org/licenses/by-sa/4.0" in licences

    (tmp_path / "fsdd" / "recordings").mkdir(parents=True)
    shutil.copy(speech / "s01" / "7_s01_0.wav", tmp_path / "fsdd" / "recordings" / "7_jackson_0.wav")
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(tmp_path))
    monkeypatch.setattr(pack, "gather", lambda *_: pytest.fail("packages were fetched first"))
    with pytest.raises(CourseError, match=r"2,999 file.* missing.*spokendigits fetch fsdd"):
        pack.write(html=html, source=checkout)

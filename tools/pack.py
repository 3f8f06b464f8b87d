"""The offline pack: one folder with all that a classroom without a network needs (`python -m tools.pack [FOLDER]`).

Wheels of everything in requirements.lock, the course, the notebooks with and without solutions, the built book, the
recordings, an installer (`pack_install.py`) and SHA256SUMS over all files. Packages come through pip, from wherever pip
is set to take them.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from functools import cached_property
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms, sys_tags
from packaging.utils import canonicalize_name, parse_wheel_filename
from tqdm import tqdm

import spokendigits
from spokendigits import corpora
from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError
from spokendigits.files import atomic_file, atomic_folder, data_folder, half_made, sha256, write_json
from spokendigits.publish import book, npm, students
from spokendigits.recipe import Recipe
from tools.stale import pins

ROOT = Path(__file__).resolve().parent.parent
SUMS = "SHA256SUMS"
ABOUT = "pack.json"
# The checkout, as git has it: without what a reader made in it. A test compares.
COURSE = (
    *("spokendigits", "notebooks", "book", "tests", "tools", "studies"),
    *("Makefile", "pyproject.toml", "requirements.lock", "environment.yml", "_config.yml", "_toc.yml"),
    *("README.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "CITATION.cff", "LICENSE", "LICENSE-CONTENT.md"),
)
TAKES = Recipe.preset("fast").takes  # more would be made on each computer, without a network
AT_ONCE = 8  # packages a call of pip: a stopped run loses no more than these
TORCH = ("torch", "torchaudio", "torchvision")
GPU_ONLY = re.compile(r"(nvidia|cuda)-.+|triton")  # in the lock because PyTorch's GPU build for Linux needs them
PYTHONS = ("3.11", "3.12", "3.13")
SYSTEMS = {"linux": "Linux", "win32": "Windows", "darwin": "Darwin"}
OTHERS = {
    "linux": (
        "linux",
        "x86_64",
        [*(f"manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1)), "manylinux2014_x86_64"],
    ),
    "windows": ("win32", "AMD64", ["win_amd64"]),
    "macos": ("darwin", "arm64", list(mac_platforms((14, 0), "arm64"))),
}
LICENCES = {
    "synthetic": "espeak-ng is a GPL-3.0 program; these recordings are its output, and nothing of the program is in them.",
    "fsdd": "The licence: https://creativecommons.org/licenses/by-sa/4.0/. The recordings were not changed.",
    "audiomnist": Path(__file__).with_name("pack_audiomnist.txt").read_text(encoding="utf-8").rstrip(),
}

PASSING_ON = """The licence of each package, by its own words. Their texts are in the wheels (a wheel is a zip file), below *.dist-info.
All may be passed on as they are, with two exceptions:
- `espeakng-loader` holds the program espeak-ng, under the GPL-3.0: GPL-3.0.txt. Whoever passes it on has to pass on its source,
  too. Put the archive of espeak-ng 1.52 from github.com/espeak-ng/espeak-ng beside this file first.
- `nvidia-*` and `cuda-*` are NVIDIA's own, under its licence, which says to whom they may be given. `--cpu` leaves them out.
"""


@dataclass(frozen=True)
class Computer:
    """A kind of computer that wheels are for. `platforms`: wheels' names of it, best first; none: the one this runs on."""

    system: str  # as sys.platform
    machine: str
    python: str  # as 3.12
    platforms: tuple[str, ...] = ()

    @classmethod
    def own(cls) -> "Computer":
        """The one this runs on."""
        return cls(sys.platform, platform.machine(), "{}.{}".format(*sys.version_info))

    @classmethod
    def named(cls, name: str) -> "Computer":
        """As `--also` names it: windows-3.12."""
        system, _, python = name.partition("-")
        if system not in OTHERS or python not in PYTHONS:
            known = ", ".join(f"{one}-{python}" for one in OTHERS for python in PYTHONS)
            raise CourseError(f"--also {name}: unknown. Known: {known}.")
        system, machine, platforms = OTHERS[system]
        return cls(system, machine, python, tuple(platforms))

    def __str__(self) -> str:
        return f"{SYSTEMS.get(self.system, self.system)} {self.machine} with Python {self.python}"

    @cached_property
    def tags(self) -> frozenset[Tag]:
        """The tags of all wheels that can be installed there."""
        if not self.platforms:
            return frozenset(sys_tags())
        version = tuple(map(int, self.python.split(".")))
        return frozenset(
            [
                *cpython_tags(version, platforms=self.platforms),
                *compatible_tags(version, f"cp{version[0]}{version[1]}", self.platforms),
            ]
        )

    def needs(self, requirement: Requirement) -> bool:
        """Whether a line of the lock is meant for it."""
        environment = default_environment() | {
            "sys_platform": self.system,
            "platform_system": SYSTEMS.get(self.system, self.system),
            "platform_machine": self.machine,
            "os_name": "nt" if self.system == "win32" else "posix",
            "python_version": self.python,
            "python_full_version": platform.python_version() if not self.platforms else f"{self.python}.0",
        }
        return requirement.marker is None or requirement.marker.evaluate(environment)

    def wheel(self, requirement: Requirement, wheels: Iterable[Path]) -> Path | None:
        """The newest of these wheels that serves a requirement there."""
        found = []
        for path in wheels:
            name, version, _, tags = parse_wheel_filename(path.name)
            if (
                name == canonicalize_name(requirement.name)
                and requirement.specifier.contains(version, prereleases=True)
                and not self.tags.isdisjoint(tags)
            ):
                found.append((version, path))
        return max(found)[1] if found else None


class Wheels:
    """Wheels fetched before, in a folder with its own SHA256SUMS: what is not listed, or is not as listed, is deleted."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.digests = read_sums(folder / SUMS) if (folder / SUMS).is_file() else {}
        for path in self.paths():
            if self.digests.get(path.name) != sha256(path):
                path.unlink()
        self.digests = {path.name: self.digests[path.name] for path in self.paths()}

    def paths(self) -> list[Path]:
        """All that are there."""
        return sorted(self.folder.glob("*.whl"))

    def get(self, requirements: list[Requirement], computer: Computer) -> list[Path]:
        """The wheel of each requirement for a computer; what is missing is fetched. CourseError with pip's own reason."""
        missing = [one for one in requirements if computer.wheel(one, self.paths()) is None]
        with tqdm(total=len(missing), desc=f"packages for {computer}", unit="package", disable=not missing) as bar:
            for start in range(0, len(missing), AT_ONCE):
                part = missing[start : start + AT_ONCE]
                with half_made(self.folder / "fetched") as fresh:
                    self._fetch([f"{one.name}{one.specifier}" for one in part], computer, str(fresh))
                    for path in fresh.glob("*.whl"):
                        self.digests[path.name] = sha256(path)
                        os.replace(path, self.folder / path.name)
                write_sums(self.folder / SUMS, self.digests)
                bar.update(len(part))
        found = {one: computer.wheel(one, self.paths()) for one in requirements}
        for requirement, path in found.items():
            if path is None:
                raise CourseError(f"{requirement.name}: pip brought no wheel of it for {computer}.")
        return list(found.values())

    def _fetch(self, requirements: list[str], computer: Computer, target: str) -> None:
        if computer.platforms:
            command = ["download", "--only-binary=:all:", "--implementation=cp", "--python-version", computer.python]
            command += [f"--platform={name}" for name in computer.platforms] + ["--dest", target]
        else:  # this builds the wheel of a package that has none
            command = ["wheel", "--wheel-dir", target]
        command = [sys.executable, "-m", "pip", *command, "--no-deps", "--no-input", "--quiet", *requirements]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
            reasons = [line for line in said if line.startswith("ERROR: No matching")] or said[-1:]
            raise CourseError(
                f"pip could not get a package for {computer}: {reasons[0].removeprefix('ERROR: ')} "
                "Look at the network and at pip's settings, then try again: what was fetched is kept."
            )


def write(
    target: Path | str | None = None,
    also: Iterable[str] = (),
    cpu: bool = False,
    html: Path | str | None = None,
    source: Path | str = ROOT,
) -> Path:
    """Writes the pack into the folder `target` and returns it: the whole of it, or nothing.

    target: a new folder or an older pack, which is replaced (None: `_build/pack` of the checkout). also: further
    computers, as `windows-3.12`. cpu: take PyTorch's CPU build for Linux, or fail. html: the folder of a built book
    (None: it is built from the stored notebooks). source: the checkout. What was fetched stays in `_build/pack-cache`.
    Raises CourseError if `target` holds something else, or a part of the pack cannot be had.
    """
    source = Path(source).resolve()
    target = source / "_build" / "pack" if target is None else Path(target).expanduser().resolve()
    check_target(target)
    computers = list(dict.fromkeys([Computer.own(), *map(Computer.named, also)]))
    cache = source / "_build" / "pack-cache"
    try:
        print("recordings", flush=True)  # first: what is not whole there stops the rest
        recordings = [*fetched()]
        print("packages", flush=True)
        requirements, wheels = gather(source / "requirements.lock", computers, cpu, Wheels(cache / "wheels"))
        made = corpora.fetch("synthetic", root=cache / "synthetic", takes=TAKES)
        recordings.insert(0, corpora.read("synthetic", made))
        with atomic_folder(target) as folder, tempfile.TemporaryDirectory(prefix="spokendigits-pack-") as built:
            if html is None:
                print("book", flush=True)
                html = book.build(source / "notebooks", built).parent
            print("files", flush=True)
            shutil.copytree(html, folder / "book")
            copy_course(source, folder / "course")
            students.write(folder / "students", source / "notebooks", pages="../book")  # as they are installed
            for corpus in recordings:
                shutil.copytree(corpus.root, folder / "data" / corpus.name, ignore=shutil.ignore_patterns(".*"))
            (folder / "data" / "LICENCES.txt").write_text(
                "\n\n".join(map(licence, recordings)) + "\n", encoding="utf-8"
            )
            (folder / "wheels").mkdir()
            for path in tqdm(wheels, "copying wheels", unit="file"):
                shutil.copy(path, folder / "wheels")
            (folder / "wheels" / "LICENCES.txt").write_text(licences(wheels), encoding="utf-8")
            shutil.copy(Path(__file__).with_name("pack_gpl.txt"), folder / "wheels" / "GPL-3.0.txt")
            (folder / "requirements.txt").write_text("".join(f"{one}\n" for one in requirements), encoding="utf-8")
            write_installer(folder, computers)
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            sums = {path.relative_to(folder).as_posix(): sha256(path) for path in tqdm(files, "SHA-256", unit="file")}
            write_sums(folder / SUMS, sums)
    except OSError as error:
        raise CourseError(
            f"{error.filename or target}: {error.strerror or error}. "
            f"The pack was not written. Make room, or choose another folder; an older pack is kept until the new one is whole."
        ) from None
    return target


def check_target(target: Path) -> None:
    """CourseError if `target` is not to be replaced: a disk itself, or a folder that holds something else."""
    hint = f"Name a new folder, for example {target / 'spokendigits'}."
    if target.is_mount():
        raise CourseError(f"{target}: is a whole disk, and a pack is a folder. {hint}")
    if target.exists() and not target.is_dir():
        raise CourseError(f"{target}: is a file. Name another place.")
    if target.is_dir() and any(target.iterdir()) and not (target / ABOUT).is_file():
        raise CourseError(f"{target}: holds something else, which would be lost. {hint}")


def gather(lock: Path, computers: list[Computer], cpu: bool, wheels: Wheels) -> tuple[list[Requirement], list[Path]]:
    """What is to be installed, lines of the lock, and the wheels of it for all computers."""
    lines = pins(lock)
    chosen, found = set(), set()
    for computer in computers:
        needed = [one for one in lines if computer.needs(one)]
        torch = [one for one in needed if one.name in TORCH]
        if cpu and computer.system == "linux":
            torch = [Requirement(f"{one.name}{one.specifier}+cpu") for one in torch]
        got = wheels.get(torch, computer)
        rest = [one for one in needed if one.name not in TORCH]
        if got and all(parse_wheel_filename(path.name)[1].local == "cpu" for path in got):
            rest = [one for one in rest if not GPU_ONLY.fullmatch(one.name)]
        elif any(GPU_ONLY.fullmatch(one.name) for one in rest):
            tqdm.write(
                "This is PyTorch's build for GPUs, gigabytes more than the CPU build. For that one, let pip's setting "
                "extra-index-url name PyTorch's CPU index (the selector on pytorch.org shows it), and add --cpu."
            )
        # pip itself installs the rest: some systems' Python comes without it.
        found |= {*got, *wheels.get([*rest, Requirement("pip")], computer)}
        chosen |= {str(one) for one in needed if one in rest or one.name in TORCH}
    return [one for one in lines if str(one) in chosen], sorted(found)


def fetched() -> Iterator[Corpus]:
    """The recordings of people that are here already, each checked file by file."""
    folders = [Path(shared).expanduser()] if (shared := os.environ.get("SPOKENDIGITS_DATA")) else []
    for name in ("fsdd", "audiomnist"):
        for root in (folder / name for folder in [*folders, data_folder()]):
            if root.is_dir():
                if problems := corpora.verify(name, root, progress=True):
                    raise CourseError(
                        f"{root}: {problems[0]} Fetch it again (`spokendigits fetch {name}`), or move it away."
                    )
                yield corpora.read(name, root)
                break


def licence(corpus: Corpus) -> str:
    """What the pack says of one corpus."""
    head = f"{corpus.name}: {corpus.label}\nSource: {corpus.source}\nLicence: {corpus.licence}"
    return f"{head}\n{LICENCES[corpus.name]}"


def copy_course(source: Path, target: Path) -> None:
    """Copies the checkout, without anything that was made in it."""
    target.mkdir()
    for name in COURSE:
        if not (source / name).exists():
            raise CourseError(f"{source / name}: missing. Make the pack from a whole checkout of the repository.")
        if (source / name).is_dir():
            ignore = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info")
            shutil.copytree(source / name, target / name, ignore=ignore)
        else:
            shutil.copy(source / name, target)


def metadata(path: Path) -> Message:
    """What a wheel says of itself."""
    with zipfile.ZipFile(path) as wheel:
        (file,) = (one for one in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", one))
        return Parser().parsestr(wheel.read(file).decode("utf-8", "replace"))


def licences(wheels: Iterable[Path]) -> str:
    """What the pack says of its packages: the licence of each, by its own words, and what passing them on takes."""
    lines = []
    for facts in map(metadata, wheels):
        classes = [one.rpartition(" :: ")[2] for one in facts.get_all("Classifier", []) if one.startswith("License ::")]
        said = (facts["License-Expression"], ", ".join(classes), *(facts["License"] or "").strip().splitlines()[:1])
        lines.append(f"{facts['Name']} {facts['Version']}: {next(filter(None, said), 'see the package')}")
    return "\n".join([PASSING_ON, *sorted(lines, key=str.lower), ""])


def oldest_python(computer: Computer, wheels: Iterable[Path]) -> str:
    """The oldest Python, as 3.11.5, that all wheels for a computer accept."""
    accepted = SpecifierSet()
    for path in wheels:
        tags = parse_wheel_filename(path.name)[3]
        if not computer.tags.isdisjoint(tags):
            accepted &= SpecifierSet(metadata(path).get("Requires-Python", ""))
    for patch in range(100):
        if accepted.contains(f"{computer.python}.{patch}"):
            return f"{computer.python}.{patch}"
    raise CourseError(f"no Python {computer.python} can install all packages of requirements.lock: {accepted}.")


def write_installer(folder: Path, computers: list[Computer]) -> None:
    """Writes README.txt and the installer, which reads from pack.json what the wheels are for."""
    shutil.copy(Path(__file__).with_name("pack_install.py"), folder / "install.py")
    (folder / "install.sh").write_text('#!/bin/sh\nexec python3 "$(dirname "$0")/install.py" "$@"\n', encoding="utf-8")
    (folder / "install.sh").chmod(0o755)
    # The Python launcher `py` comes with python.org's Python, `python` with the others.
    batch = '@where /q py\n@if errorlevel 1 (python "%~dp0install.py" %*) else (py "%~dp0install.py" %*)\n@pause\n'
    (folder / "install.bat").write_text(batch, encoding="utf-8", newline="\r\n")
    oldest = {one: oldest_python(one, (folder / "wheels").glob("*.whl")) for one in computers}
    names = [f"{one} ({oldest[one]} or newer)" for one in computers]
    made_for = [
        {"system": one.system, "machine": one.machine, "python": one.python, "oldest": oldest[one], "name": name}
        for one, name in zip(computers, names, strict=True)
    ]
    write_json(folder / ABOUT, {"course": spokendigits.__version__, "made_for": made_for})
    (folder / "README.txt").write_text(
        f"Spoken Digits {spokendigits.__version__}, a course in speech classification, without a network. Made for: {'; '.join(names)}.\n"
        "To install: sh install.sh (Windows: install.bat). It checks every file, fills a new folder, and says how to start.\n"
        "To read only: open book/index.html in a browser. Licences: data/LICENCES.txt for the recordings, wheels/LICENCES.txt for the packages. Read both before you pass the pack on.\n",
        encoding="utf-8",
    )


def read_sums(path: Path) -> dict[str, str]:
    """The digests by file name, from a list as `sha256sum` writes it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def write_sums(path: Path, digests: dict[str, str]) -> None:
    """Writes a list as `sha256sum` writes it."""
    with atomic_file(path) as temporary:
        lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
        temporary.write_text("".join(lines), encoding="utf-8", newline="\n")


def size(folder: Path) -> str:
    """How large a pack is, and its parts, in MB of a million bytes."""
    parts = {}
    for path in folder.rglob("*"):
        if path.is_file():
            part = path.relative_to(folder).parts[0] if path.parent != folder else "installer"
            parts[part] = parts.get(part, 0) + path.stat().st_size
    ordered = sorted(parts.items(), key=lambda item: -item[1])
    return f"{sum(parts.values()) / 1e6:,.0f} MB: " + ", ".join(f"{name} {count / 1e6:,.0f}" for name, count in ordered)


def main(arguments: list[str] | None = None) -> None:
    """Writes the pack, then prints where it is and how large."""
    parser = argparse.ArgumentParser(prog="python -m tools.pack", description="Makes the offline pack for a classroom.")
    parser.add_argument("folder", nargs="?", help="where to (default: _build/pack)")
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="SYSTEM-PYTHON",
        help="further computers, for example windows-3.12",
    )
    parser.add_argument("--cpu", action="store_true", help="take PyTorch's CPU build for Linux, or fail")
    parser.add_argument("--book", help="the folder of a built book, index.html in it (default: build it)")
    options = parser.parse_args(arguments)
    try:
        if not options.book:
            npm.prepare()
        folder = write(options.folder, options.also, options.cpu, options.book)
    except CourseError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("\nstopped. No pack was written; the same command fetches only what is missing.")
    print(f"Pack: {folder}\n{size(folder)}")


if __name__ == "__main__":
    main()

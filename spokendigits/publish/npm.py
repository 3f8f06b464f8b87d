"""What the book's pages run and others wrote: packages of npm, fetched once, each file with its pinned SHA-256."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from spokendigits.errors import CourseError
from spokendigits.files import atomic_folder, data_folder, sha256, shared_folder


@dataclass(frozen=True, eq=False)
class Package:
    """A release on npm, and the SHA-256 of the files in it that are used.

    licence: a text of our own repository, where the package holds none; else it is the package's LICENSE, one of the files.
    """

    name: str
    version: str
    files: dict[str, str]
    licence: Path | None = None

    @property
    def folder(self) -> str:
        """The name of the folder that holds the files."""
        return self.name.removeprefix("@").replace("/", "-")

    def find(self) -> Path | None:
        """The folder that holds the files; None if there is none.

        Looks in SPOKENDIGITS_DATA, then where `fetch` puts them. Files of another version count as missing.
        """
        for folder in (shared_folder(self.folder), data_folder() / self.folder):
            if folder and all((folder / Path(name).name).is_file() for name in self.files) and not self._wrong(folder):
                return folder
        return None

    def fetch(self) -> Path:
        """The folder that holds the files; brought by `npm pack` if they are not here yet.

        Raises CourseError without npm or a network, or if a file is not the pinned one.
        """
        if folder := self.find():
            return folder
        npm = shutil.which("npm")
        if npm is None:
            raise CourseError(
                f"{self.name} comes through npm, and there is no npm here. Install Node.js, then try again."
            )
        print(f"{self.name} {self.version}: fetching", flush=True)
        with tempfile.TemporaryDirectory(prefix="spokendigits-npm-") as fresh:
            command = [
                npm,
                "pack",
                f"{self.name}@{self.version}",
                "--silent",
                "--fetch-retries=1",
                "--fetch-timeout=60000",
            ]
            done = subprocess.run(command, cwd=fresh, capture_output=True, text=True, timeout=900, check=False)
            archives = list(Path(fresh).glob("*.tgz"))
            if done.returncode or not archives:
                raise CourseError(
                    f"npm could not get {self.name} {self.version}. Look at the network and at npm's settings, then try again."
                )
            with atomic_folder(data_folder() / self.folder) as folder, tarfile.open(archives[0]) as tar:
                for name in self.files:
                    try:
                        (folder / Path(name).name).write_bytes(tar.extractfile(f"package/{name}").read())
                    except KeyError:
                        raise CourseError(f"{archives[0].name}: holds no {name}. Not used.") from None
                if self.licence:
                    shutil.copy(self.licence, folder)
                if wrong := self._wrong(folder):
                    raise CourseError(
                        f"{self.name} {self.version}: the SHA-256 of {wrong[0]} is not the known one. Not used."
                    )
        return data_folder() / self.folder

    def copy(self, target: Path) -> bool:
        """Copies the files into `target`, the licence as PACKAGE-LICENSE.txt; False if they are not here."""
        if (folder := self.find()) is None:
            return False
        for name in map(Path, self.files):
            shutil.copy(
                folder / name.name, target / (f"{self.folder}-LICENSE.txt" if name.name == "LICENSE" else name.name)
            )
        if self.licence:
            shutil.copy(self.licence, target)
        return True

    def _wrong(self, folder: Path) -> list[str]:
        names = {Path(name).name: digest for name, digest in self.files.items()}
        return [name for name, digest in names.items() if sha256(folder / name) != digest]


# Runs the models: its build for WebAssembly alone is the smallest one.
RUNTIME = Package(
    "onnxruntime-web",
    "1.30.0",
    {
        "dist/ort.wasm.min.js": "faece07e84faa9001f5104bbe4e5c70861d06cb2376a0dea1fa0ad33a67adc81",
        "dist/ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
        "dist/ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    },
    Path(__file__).with_name("onnxruntime-web-LICENSE.txt"),
)
# Draw the figures that move: marks and scales for any chart, in 0.5 MB. ISC licence, kept since 2011 and 2020 by the same people.
D3 = Package(
    "d3",
    "7.9.2",
    {
        "dist/d3.min.js": "912111098ea99503a6f4967361d2bbdc9dbf58cf9c678c8e27e5b02d1a07f0c1",
        "LICENSE": "2a6d2d5f32ba0b755ddbc1c833f766e30cdbe6ebe9a6d4e3e24427721f0b63d3",
    },
)
PLOT = Package(
    "@observablehq/plot",
    "0.6.17",
    {
        "dist/plot.umd.min.js": "4358086467740777dd788d6b27a95cebdbaefdd50c730a3060117073bd7134cb",
        "LICENSE": "4b295e011e0e046170041b5b46f1349393aeceb95797793a55bd21dbb543363a",
    },
)


def prepare() -> None:
    """Fetches what is not here; a book without it is still a book, so this only says what it will lack."""
    lacking = {
        RUNTIME: 'the page "Say a digit" will not answer',
        D3: "figures will not move",
        PLOT: "figures will not move",
    }
    for package, lack in lacking.items():
        try:
            package.fetch()
        except (CourseError, OSError, subprocess.TimeoutExpired) as error:
            print(f"note: {lack}. {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    prepare()

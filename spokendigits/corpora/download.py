"""Downloads that can be resumed, and archives that are unpacked whole or not at all."""

import contextlib
import errno
import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple
from urllib.parse import urlsplit

import pooch
import requests
from tqdm import tqdm

from spokendigits.errors import CourseError
from spokendigits.files import atomic_folder, read_json, write_json

ATTEMPTS = 4  # in a row without one byte of progress
PAUSE = 1.0  # seconds before the second attempt; grows with each one
TIMEOUT = (10, 60)  # seconds to connect, and to wait for the next bytes
CHUNK = 1 << 14  # bytes; a cut loses what came of the last one
STAMP = "corpus.json"  # lies in every corpus folder that this course made, and says where it came from


class Unavailable(CourseError):
    """The network or the server did not deliver; another source may."""


class BadArchive(CourseError):
    """What was delivered is not the archive that was wanted."""


class _Cut(requests.RequestException):
    """A transfer that ended early; worth another attempt."""


def download(
    urls: str | Sequence[str],
    known_hash: str | None,
    folder: Path | str,
    filename: str,
    progress: bool = True,
) -> Path:
    """Downloads one file to `folder/filename` and returns that path; a file that is there already is kept.

    `urls` are tried in order. A broken transfer goes on where it stopped, also after Ctrl-C or in a new session: what
    has arrived waits in `filename.part`. `known_hash` is a SHA-256 in hex. It may be None for files that their server
    makes anew on demand, as GitHub's archives are: their bytes are not stable, so TLS vouches for them and the caller
    verifies what is inside.
    Raises Unavailable (a CourseError) that says how to fetch the file by hand, CourseError if the disk is full.
    """
    urls = [urls] if isinstance(urls, str) else list(urls)
    folder = Path(folder)
    # pooch advises at length to pin the hash; that advice is for its caller, not for the reader.
    pooch.get_logger().setLevel("WARNING")
    reasons = []
    for url in urls:
        try:
            resuming = _Resuming(folder, filename, progress)
            return Path(pooch.retrieve(url, known_hash, filename, folder, downloader=resuming))
        except requests.RequestException as error:
            reasons.append(_reason(url, error))
        except ValueError:
            reasons.append(f"{_host(url)} sent a file whose SHA-256 is not the known one")
        except OSError as error:
            raise disk_error(error, folder) from None
    raise Unavailable(
        f"{filename} could not be downloaded: {'; '.join(reasons)}. Run the same command again to go on; or open "
        f"{urls[0]} in a browser, save the file as {folder / filename}, and run it again; "
        f"or set SPOKENDIGITS_DATA to a folder that holds the corpus."
    )


class _Resuming:
    """A downloader as pooch wants it: called with the URL and the path to fill."""

    def __init__(self, folder: Path, filename: str, progress: bool):
        self.part = folder / f"{filename}.part"
        self.facts = folder / f"{filename}.part.json"
        self.progress = progress

    def __call__(self, url: str, output: str, _pooch) -> None:
        failures, furthest = 0, _size(self.part)
        while True:
            try:
                self._attempt(url)
                break
            except requests.ConnectTimeout:
                raise  # nobody answers: asking again only makes the reader wait
            except requests.RequestException as error:
                refused = error.response is not None and error.response.status_code not in (429, 500, 502, 503, 504)
                failures = 1 if _size(self.part) > furthest else failures + 1
                furthest = max(furthest, _size(self.part))
                if refused or failures >= ATTEMPTS:
                    raise
                time.sleep(PAUSE * failures)
        self.part.replace(output)
        self.facts.unlink(missing_ok=True)

    def _attempt(self, url: str) -> None:
        facts = _facts(self.facts)
        start = _size(self.part) if facts.get("url") == url else 0
        if start and start == facts.get("bytes"):
            return
        # Unpacked on the way (gzip), bytes could be neither counted nor resumed.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416:
                self._start_again("the server does not have the rest")
            response.raise_for_status()
            first, total = _extent(response)
            version = response.headers.get("ETag") or response.headers.get("Last-Modified")
            now = {"url": url, "bytes": total, "version": version}
            if first and (first != start or now != facts):
                self._start_again("the file changed on the server, or its length was not known")
            if not first:
                write_json(self.facts, now)
            with (
                open(self.part, "ab" if first else "wb") as file,
                tqdm(
                    None, self.part.stem, total, initial=first, unit="B", unit_scale=True, disable=not self.progress
                ) as bar,
            ):
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
        if total is not None and _size(self.part) > total:
            self._start_again("more bytes came than were announced")
        if total is not None and _size(self.part) < total:
            raise _Cut(f"{_size(self.part):,} of {total:,} bytes came")

    def _start_again(self, why: str) -> None:
        self.part.unlink()
        raise _Cut(why)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _facts(path: Path) -> dict:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return {}


def _extent(response: requests.Response) -> tuple[int, int | None]:
    """The first byte that comes, and the bytes of the whole file (None: not announced)."""
    if response.status_code == 206:
        extent, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        first = extent.partition("-")[0]
        if not first.isdigit():
            raise _Cut("the server sent a part and did not say which")
        return int(first), int(total) if total.isdigit() else None
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _reason(url: str, error: requests.RequestException) -> str:
    if error.response is not None:
        return f"{_host(url)} answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, _Cut):
        return f"{_host(url)}: {error}"
    if isinstance(error, requests.Timeout):
        return f"{_host(url)} did not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"{_host(url)} cut the transfer"
    if isinstance(error, requests.exceptions.SSLError):
        return f"{_host(url)} has no valid certificate (a proxy, or a wrong clock?)"
    return f"no connection to {_host(url)}"


def disk_error(error: OSError, folder: Path) -> CourseError:
    """What the disk would not do, as one line to raise."""
    if error.errno == errno.ENOSPC:
        return CourseError(f"{folder}: the disk is full. Make room and run the same command again; nothing is lost.")
    return CourseError(f"{error.filename or folder}: {error.strerror or error}.")


def unpack(
    source: Path | str,
    target: Path | str,
    progress: bool = True,
    place: Callable[[str], str | None] | None = None,
    finish: Callable[[Path], None] | None = None,
) -> Path:
    """Unpacks a zip or tar.gz, or copies a folder, to the folder `target`: whole, or not at all.

    `place` gives a member's path inside `target` (None: leave it out). `finish` is called with the temporary folder
    before that becomes `target`; if it raises, `target` stays as it was. Nothing is written when any member is a link
    or would leave the target (`../`, an absolute path).
    Raises BadArchive (a CourseError) for a broken, truncated or unsafe archive, CourseError if the disk is full.
    """
    source, target = Path(source), Path(target)
    try:
        with _members(source) as members:
            for member in members:
                _check_safe(source, member)
            placed = [(place(member.name) if place else member.name, member) for member in members if member.open]
            placed = [(inside, member) for inside, member in placed if inside is not None]
            if twice := [inside for inside, count in Counter(inside for inside, _ in placed).items() if count > 1]:
                raise BadArchive(f"{source.name}: holds {twice[0]} more than once. Nothing was unpacked.")
            _check_room(target, sum(member.size for _, member in placed))
            with atomic_folder(target) as folder:
                for inside, member in tqdm(placed, f"unpacking {source.name}", unit="file", disable=not progress):
                    (folder / inside).parent.mkdir(parents=True, exist_ok=True)
                    with member.open() as packed, open(folder / inside, "wb") as file:
                        shutil.copyfileobj(packed, file)
                if finish:
                    finish(folder)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError) as error:
        raise BadArchive(f"{source.name}: not a whole archive ({error}). Download it again.") from None
    except OSError as error:
        raise disk_error(error, target) from None
    return target


class _Member(NamedTuple):
    name: str
    size: int
    open: Callable[[], IO[bytes]] | None  # None: a folder
    strange: bool = False  # a link, a device, or encrypted


@contextlib.contextmanager
def _members(source: Path) -> Iterator[list[_Member]]:
    if source.is_dir():
        files = [path for path in sorted(source.rglob("*")) if path.is_file()]
        yield [_Member(p.relative_to(source).as_posix(), p.stat().st_size, partial(open, p, "rb")) for p in files]
        return
    with open(source, "rb") as file:
        start = file.read(2)
    if start == b"PK":
        with zipfile.ZipFile(source) as archive:
            yield [
                _Member(
                    one.filename,
                    one.file_size,
                    None if one.is_dir() else partial(archive.open, one),
                    stat.S_ISLNK(one.external_attr >> 16) or bool(one.flag_bits & 1),
                )
                for one in archive.infolist()
            ]
    elif start == b"\x1f\x8b":
        with tarfile.open(source, "r:gz") as archive:
            yield [
                _Member(
                    one.name,
                    one.size,
                    None if one.isdir() else partial(archive.extractfile, one),
                    not (one.isfile() or one.isdir()),
                )
                for one in archive.getmembers()
            ]
    else:
        raise BadArchive(f"{source.name}: neither a zip nor a tar.gz (a sign-in page?). Download it again.")


def _check_safe(source: Path, member: _Member) -> None:
    # Windows reads a backslash as a slash and "C:" as a place, so they count as such everywhere.
    path = PurePosixPath(member.name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(member.name).drive:
        raise BadArchive(f"{source.name}: {member.name!r} leads outside the target folder. Nothing was unpacked.")
    if member.strange:
        raise BadArchive(f"{source.name}: {member.name!r} is a link, a device or encrypted. Nothing was unpacked.")


def _check_room(target: Path, size: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if size > free:
        raise CourseError(
            f"{target}: {size / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free. Make room and run it again."
        )


def check_replaceable(root: Path) -> None:
    """Raises CourseError when `root` holds anything that this course did not put there."""
    if root.exists() and not (root / STAMP).is_file() and (not root.is_dir() or any(root.iterdir())):
        raise CourseError(f"{root}: holds something else, and would be replaced. Move it away, or name another folder.")


def install(
    source: Path | Sequence[str],
    filename: str,
    root: Path,
    place: Callable[[str], str | None],
    finish: Callable[[Path], None],
    progress: bool = True,
) -> Path:
    """Puts a corpus at `root` from a local folder or archive, or from the URLs of an archive; returns `root`.

    A downloaded archive is removed once it is unpacked, or when it turned out bad; it is kept when the disk was full.
    Raises as `download` and `unpack` do, and CourseError when `root` holds something else.
    """
    check_replaceable(root)
    if isinstance(source, Path):
        return unpack(source, root, progress, place, finish)
    archive = download(source, None, root.parent / "downloads", filename, progress)
    try:
        unpack(archive, root, progress, place, finish)
    except BadArchive:
        archive.unlink()
        raise
    archive.unlink()
    return root

"""Downloads that can be resumed, and archives that are unpacked whole or not at all. For `spokendigits fetch`."""

import re
import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from urllib.parse import urlsplit

import pooch
import requests
from tqdm import tqdm

from spokendigits.corpora.storage import STAMP, check_replaceable, disk_errors, read_facts, through_proxies
from spokendigits.errors import CourseError
from spokendigits.files import atomic_folder, check_room, half_made, sha256, write_json

ATTEMPTS = 4  # in a row without one byte of progress
PAUSE = 1.0  # seconds before the second attempt; grows with each one
TIMEOUT = (10, 60)  # seconds to connect, and to wait for the next bytes
CHUNK = 1 << 14  # bytes; a cut loses what came of the last one


class Unavailable(CourseError):
    """The network or the server did not deliver; another source may."""


class BadArchive(CourseError):
    """What was delivered is not the archive that was wanted."""


class _Cut(requests.RequestException):
    """A transfer that ended early; worth another attempt."""


def download(
    urls: Sequence[str], folder: Path, filename: str, progress: bool = True, digest: str | None = None
) -> Path:
    """Downloads one file to `folder/filename` and returns that path; a file that is there already is kept.

    `urls` are tried in order. A broken transfer goes on where it stopped, also after Ctrl-C or in a new session: what
    has arrived waits in `filename.part`. `digest`: the SHA-256 of the whole file. GitHub makes its archives anew on demand,
    and their bytes are not stable: of them there is none, TLS vouches for the file, and the caller verifies what is inside.
    Raises Unavailable (a CourseError) that says how to fetch the file by hand, BadArchive if it is another and removes it,
    CourseError if the disk is full.
    """
    # pooch advises at length to pin the hash; that advice is for its caller, not for the reader.
    pooch.get_logger().setLevel("WARNING")
    reasons = []
    with disk_errors(folder):
        for url in urls:
            try:
                resuming = _Resuming(folder, filename, progress)
                path = Path(pooch.retrieve(url, None, filename, folder, downloader=resuming))
                if digest and (found := sha256(path)) != digest:
                    path.unlink()
                    raise BadArchive(f"{path}: removed, for its SHA-256 is {found}, not {digest}. Download it again.")
                return path
            except requests.RequestException as error:
                reasons.append(_reason(url, error))
    raise Unavailable(
        f"{filename} could not be downloaded: {'; '.join(reasons)}. Run the same command again to go on; or open "
        f"{urls[0]} in a browser, save the file as {folder / filename}, and run it again; "
        "or set SPOKENDIGITS_DATA to a folder that holds the corpus."
    )


class _Resuming:
    """A downloader as pooch wants it: called with the URL and the path to fill."""

    def __init__(self, folder: Path, filename: str, progress: bool):
        self.part = folder / f"{filename}.part"
        self.facts = folder / f"{filename}.part.json"  # of which file it is a part
        self.progress = progress

    def size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def __call__(self, url: str, output: str, _pooch) -> None:
        failures, furthest = 0, self.size()
        while True:
            try:
                self.attempt(url)
                break
            except requests.ConnectTimeout:
                raise  # nobody answers: asking again only makes the reader wait
            except requests.RequestException as error:
                failures = 1 if self.size() > furthest else failures + 1
                furthest = max(furthest, self.size())
                refused = error.response is not None and error.response.status_code not in (429, 500, 502, 503, 504)
                if refused or failures >= ATTEMPTS:
                    raise
                time.sleep(PAUSE * failures)
        self.part.replace(output)
        self.facts.unlink(missing_ok=True)

    def attempt(self, url: str) -> None:
        facts = read_facts(self.facts)
        start = self.size() if facts.get("url") == url else 0
        if start and start == facts.get("bytes"):
            return
        # Unpacked on the way (gzip), bytes could be neither counted nor resumed.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416:
                self.start_again("does not have the rest")
            response.raise_for_status()
            first, total = _extent(response)
            version = response.headers.get("ETag") or response.headers.get("Last-Modified")
            now = {"url": url, "bytes": total, "version": version}
            if first and (first != start or now != facts):
                self.start_again("has changed the file, or did not tell its length")
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
        if total is not None and self.size() > total:
            self.start_again("sent more bytes than it had announced")
        if total is not None and self.size() < total:
            raise _Cut(f"sent {self.size():,} of {total:,} bytes")

    def start_again(self, why: str) -> None:
        self.part.unlink()
        raise _Cut(why)


def _extent(response: requests.Response) -> tuple[int, int | None]:
    """The first byte that comes, and the bytes of the whole file (None: not announced)."""
    if response.status_code != 206:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else None
    extent = re.match(r"bytes (\d+)-\d+/(\d*)", response.headers.get("Content-Range", ""))
    if not extent:
        raise _Cut("sent a part and did not say which")
    return int(extent[1]), int(extent[2]) if extent[2] else None


def _reason(url: str, error: requests.RequestException) -> str:
    host = urlsplit(url).netloc
    if error.response is not None:
        return f"{host} answered {error.response.status_code} {error.response.reason}"
    reasons = {
        _Cut: error,
        requests.Timeout: "did not answer in time",
        requests.exceptions.ChunkedEncodingError: "cut the transfer",
        requests.exceptions.SSLError: "has no valid certificate (a proxy, or a wrong clock?)",
    }
    known = [f"{host} {reason}" for kind, reason in reasons.items() if isinstance(error, kind)]
    return (known[0] if known else f"no connection to {host}") + through_proxies()


def _extract(source: Path, folder: Path, progress: bool) -> None:
    """Unpacks an archive to an empty folder, once every member's name was seen to be safe."""
    with open(source, "rb") as file:
        start = file.read(512)
    is_zip, is_tar = start[:2] == b"PK", start[257:262] == b"ustar"
    if not (is_zip or is_tar or start[:2] == b"\x1f\x8b"):
        raise BadArchive(f"{source.name}: neither a zip nor a tar.gz (a sign-in page?). Download it again.")
    with zipfile.ZipFile(source) if is_zip else tarfile.open(source, "r" if is_tar else "r:gz") as archive:
        members = archive.infolist() if is_zip else archive.getmembers()
        for member in members if is_zip else ():
            member.filename = member.filename.replace("\\", "/")  # some programs on Windows write them so
        names = [member.filename if is_zip else member.name for member in members]
        for name, member in zip(names, members, strict=True):
            # Windows reads a backslash as a slash and "C:" as a place, so they count as such everywhere.
            path = PureWindowsPath(name)
            if path.anchor or ".." in path.parts:
                raise BadArchive(f"{source.name}: {name!r} leads outside the target folder. Nothing was unpacked.")
            if is_zip:
                strange = stat.S_ISLNK(member.external_attr >> 16) or member.flag_bits & 1
            else:
                strange = not (member.isfile() or member.isdir())
            if strange:
                raise BadArchive(f"{source.name}: {name!r} is a link, a device or encrypted. Nothing was unpacked.")
        if len(set(names)) < len(names):
            raise BadArchive(f"{source.name}: holds a file more than once. Nothing was unpacked.")
        check_room(folder, sum(member.file_size if is_zip else member.size for member in members))
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # early releases of Python 3.11 lack it
        for member in tqdm(members, f"unpacking {source.name}", unit="file", disable=not progress):
            archive.extract(member, folder)


def unpack(
    source: Path | str,
    target: Path | str,
    progress: bool = True,
    place: Callable[[str], str | None] = str,
    finish: Callable[[Path], None] = lambda folder: None,
) -> Path:
    """Unpacks a zip or tar.gz, or copies a folder, to the folder `target`: whole, or not at all.

    `place` gives a member's path inside `target` (None: leave it out). `finish` is called with the temporary folder
    before that becomes `target`; if it raises, `target` stays as it was. Nothing is written when any member is a link
    or would leave the target (`../`, an absolute path).
    Raises BadArchive (a CourseError) for a broken, truncated or unsafe archive, CourseError if the disk is full.
    """
    source, target = Path(source), Path(target)
    try:
        with disk_errors(target), atomic_folder(target) as folder, half_made(target) as scratch:
            if not source.is_dir():
                _extract(source, scratch, progress)
            given = source if source.is_dir() else scratch
            files = sorted(path for path in given.rglob("*") if path.is_file())
            if given is source:
                check_room(folder, sum(path.stat().st_size for path in files))
            for path in files:
                if (inside := place(path.relative_to(given).as_posix())) is None:
                    continue
                if (folder / inside).exists():
                    raise BadArchive(f"{source.name}: holds {inside} more than once. Nothing was unpacked.")
                (folder / inside).parent.mkdir(parents=True, exist_ok=True)
                if given is source:
                    shutil.copyfile(path, folder / inside)
                else:
                    path.replace(folder / inside)
            finish(folder)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError) as error:
        raise BadArchive(f"{source.name}: not a whole archive ({error}). Download it again.") from None
    return target


def install(
    corpus: str,
    source: Path | str,
    sources: Mapping[str, Sequence[str]],
    filename: str,
    root: Path,
    place: Callable[[str], str | None],
    finish: Callable[[Path], None],
    progress: bool = True,
    digest: str | None = None,
) -> Path:
    """Puts a corpus at `root`, with its stamp, and returns `root`.

    source: a key of `sources`, whose values are URLs of an archive, or a local folder or archive. `filename`: what a
    downloaded one is called in `downloads` beside `root`, and `digest` its SHA-256. `place`, `finish`: as for `unpack`.
    A downloaded archive is removed once it is unpacked, or when it turned out bad; it is kept when the disk was full.
    Raises as `download` and `unpack` do, and CourseError when there is no such source or `root` holds something else.
    """

    def finish_and_stamp(folder: Path) -> None:
        finish(folder)
        write_json(folder / STAMP, {"corpus": corpus, "source": source if source in sources else "a local copy"})

    check_replaceable(root)
    if source not in sources:
        if not (Path(source).is_dir() or Path(source).is_file()):
            raise CourseError(f"{source}: no such file or folder, and no source of {corpus}: {', '.join(sources)}.")
        return unpack(source, root, progress, place, finish_and_stamp)
    archive = download(sources[source], root.parent / "downloads", filename, progress, digest)
    try:
        unpack(archive, root, progress, place, finish_and_stamp)
    except BadArchive:
        archive.unlink()
        raise
    archive.unlink()
    return root

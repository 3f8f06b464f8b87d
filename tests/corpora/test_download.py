"""Downloads and archives, against a real server on this machine that cuts, refuses and forgets on order."""

import gzip
import hashlib
import io
import os
import re
import socket
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from spokendigits.corpora import download as downloads
from spokendigits.corpora.download import BadArchive, Unavailable, download, install, unpack
from spokendigits.errors import CourseError

BYTES = bytes(range(256)) * 2000


class Server:
    """Serves `files` (path to bytes) on 127.0.0.1, and does as it is told by its other attributes."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.cuts: list[int] = []  # after how many bytes to cut the next answers
        self.statuses: list[int] = []  # statuses to answer first
        self.ranges = True  # whether Range is obeyed
        self.lengths = True  # whether Content-Length is sent
        self.chunked = False  # as GitHub sends its archives: no length, but the end is marked
        self.asked: list[tuple[str, str | None]] = []  # path and Range of every request
        handler = type("Handler", (_Handler,), {"world": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self) -> "Server":
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.world.asked.append((self.path, wanted))
        body = self.world.files.get(self.path)
        if self.world.statuses:
            return self.send_error(self.world.statuses.pop(0))
        if body is None:
            return self.send_error(404)
        # As servers do for whoever does not forbid it.
        squeezed = "gzip" in self.headers.get("Accept-Encoding", "")
        body = gzip.compress(body) if squeezed else body
        whole, start = len(body), 0
        if wanted and self.world.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= whole:
                return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        if self.world.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif self.world.lengths:
            self.send_header("Content-Length", str(whole - start))
        self.send_header("Connection", "close")
        if squeezed:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.end_headers()
        end = self.world.cuts.pop(0) if self.world.cuts else whole
        if not self.world.chunked:
            self.wfile.write(body[start:end])
            return None
        for at in range(start, end, 10_000):
            piece = body[at : min(at + 10_000, end)]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if end == whole:
            self.wfile.write(b"0\r\n\r\n")
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE", 0)
    with Server() as server:
        server.files["/corpus.zip"] = BYTES
        yield server


def get(server, folder, urls=None, known_hash=None):
    return download(urls or f"{server.url}/corpus.zip", known_hash, folder, "corpus.zip", progress=False)


def kept(came: int) -> int:
    """Of the bytes that came before a cut, those that are kept: whole chunks."""
    return came // downloads.CHUNK * downloads.CHUNK


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text and len(text) < 800
    return text


def test_a_download_is_whole_and_made_once(server, tmp_path):
    path = get(server, tmp_path)
    assert path == tmp_path / "corpus.zip"
    assert path.read_bytes() == BYTES
    get(server, tmp_path)
    assert len(server.asked) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.zip"]


def test_a_cut_download_goes_on_where_it_stopped(server, tmp_path):
    server.cuts = [100_000, 300_000]
    assert get(server, tmp_path).read_bytes() == BYTES
    assert [asked for _, asked in server.asked] == [None, *(f"bytes={kept(cut)}-" for cut in (100_000, 300_000))]


def test_a_cut_is_noticed_even_where_the_library_below_does_not_count(server, tmp_path, monkeypatch):
    ask = downloads.requests.get

    def lenient(*arguments, **options):
        response = ask(*arguments, **options)
        response.raw.enforce_content_length = False  # as urllib3 1.x has it
        return response

    monkeypatch.setattr(downloads.requests, "get", lenient)
    server.cuts = [100_000]
    assert get(server, tmp_path).read_bytes() == BYTES
    assert [asked for _, asked in server.asked] == [None, "bytes=100000-"]


def test_a_line_that_is_cut_again_and_again_gets_there_as_long_as_bytes_come(server, tmp_path):
    server.cuts = list(range(50_000, 500_000, 50_000))
    assert len(server.cuts) > 2 * downloads.ATTEMPTS
    assert get(server, tmp_path).read_bytes() == BYTES


def test_what_came_before_an_interruption_is_used_in_the_next_session(server, tmp_path, monkeypatch):
    class Pressed:
        """A progress bar during which Ctrl-C is pressed."""

        def __init__(self, *_, **__):
            self.chunks = 0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, _):
            self.chunks += 1
            if self.chunks == 2:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(downloads, "tqdm", Pressed)
        with pytest.raises(KeyboardInterrupt):
            get(server, tmp_path)
    came = (tmp_path / "corpus.zip.part").stat().st_size
    assert 0 < came < len(BYTES) and not (tmp_path / "corpus.zip").exists()
    assert get(server, tmp_path).read_bytes() == BYTES
    assert server.asked[-1] == ("/corpus.zip", f"bytes={came}-")


def test_a_server_that_always_cuts_is_given_up_and_nothing_passes_as_whole(server, tmp_path):
    server.cuts = [50_000] * 20
    with pytest.raises(Unavailable) as error:
        get(server, tmp_path)
    assert not (tmp_path / "corpus.zip").exists()
    assert len(server.asked) == downloads.ATTEMPTS
    assert "127.0.0.1" in one_line(error)


@pytest.mark.parametrize("lengths", [True, False])
def test_a_server_that_ignores_ranges_is_asked_for_all_of_it_again(server, tmp_path, lengths):
    # Without a length a cut cannot be told from the end; what came is then the caller's to verify.
    server.ranges, server.lengths, server.cuts = False, lengths, [100_000] if lengths else []
    assert get(server, tmp_path).read_bytes() == BYTES


@pytest.mark.parametrize("ranges", [True, False])
def test_an_archive_made_on_demand_is_whole_although_its_length_is_not_announced(server, tmp_path, ranges):
    server.chunked, server.ranges, server.cuts = True, ranges, [100_000]
    assert get(server, tmp_path).read_bytes() == BYTES
    server.cuts = [100_000] * 50
    with pytest.raises(Unavailable):
        get(server, tmp_path / "again")
    assert not (tmp_path / "again" / "corpus.zip").exists()


def test_a_file_that_changed_on_the_server_is_not_patched_together(server, tmp_path):
    server.cuts = [100_000]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(downloads, "ATTEMPTS", 1)
        with pytest.raises(Unavailable):
            get(server, tmp_path)
    changed = BYTES[::-1]
    server.files["/corpus.zip"] = changed
    assert get(server, tmp_path).read_bytes() == changed


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    server.cuts = [100_000]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(downloads, "ATTEMPTS", 1)
        with pytest.raises(Unavailable):
            get(server, tmp_path)
    with open(tmp_path / "corpus.zip.part", "ab") as part:
        part.write(b"x" * len(BYTES))
    assert get(server, tmp_path).read_bytes() == BYTES
    assert (server.asked[-2][1], server.asked[-1][1]) == (
        f"bytes={len(BYTES) + kept(100_000)}-",
        None,
    )  # 416, then anew


def test_mirrors_are_tried_in_order(server, tmp_path):
    urls = [f"http://127.0.0.1:{closed_port()}/x", f"{server.url}/gone.zip", f"{server.url}/corpus.zip"]
    assert get(server, tmp_path, urls).read_bytes() == BYTES
    assert [path for path, _ in server.asked] == ["/gone.zip", "/corpus.zip"]  # a 404 is not asked again


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.statuses = [503, 429]
    assert get(server, tmp_path).read_bytes() == BYTES


def test_the_known_hash_decides(server, tmp_path):
    assert get(server, tmp_path / "a", known_hash=hashlib.sha256(BYTES).hexdigest()).read_bytes() == BYTES
    with pytest.raises(Unavailable, match="SHA-256"):
        get(server, tmp_path / "b", known_hash="0" * 64)
    assert not list((tmp_path / "b").glob("*"))


def test_no_network_is_one_line_with_the_manual_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE", 0)
    url = f"http://127.0.0.1:{closed_port()}/corpus.zip"
    with pytest.raises(CourseError) as error:
        download(url, None, tmp_path, "corpus.zip", progress=False)
    text = one_line(error)
    assert "no connection to 127.0.0.1" in text
    assert url in text and str(tmp_path / "corpus.zip") in text and "SPOKENDIGITS_DATA" in text
    # The way out works: the file put there by hand is taken.
    (tmp_path / "corpus.zip").write_bytes(BYTES)
    assert download(url, None, tmp_path, "corpus.zip", progress=False).read_bytes() == BYTES


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_line(server, tmp_path):
    (tmp_path / "corpus.zip.part").symlink_to("/dev/full")
    with pytest.raises(CourseError, match="the disk is full"):
        get(server, tmp_path)
    assert not (tmp_path / "corpus.zip").exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nobody forbids root to write")
def test_a_folder_that_cannot_be_written_is_one_line(server, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CourseError, match="Permission denied"):
        get(server, tmp_path)


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_zip_tar_and_folder_unpack_alike(tmp_path):
    members = {"top/a.wav": b"a", "top/b/c.wav": b"c"}
    make_zip(tmp_path / "x.zip", members)
    make_tar(tmp_path / "x.tar.gz", [(tarfile.TarInfo(name), content) for name, content in members.items()])
    unpack(tmp_path / "x.zip", tmp_path / "1", progress=False)
    unpack(tmp_path / "x.tar.gz", tmp_path / "2", progress=False)
    unpack(tmp_path / "1", tmp_path / "3", progress=False)
    assert files(tmp_path / "1") == files(tmp_path / "2") == files(tmp_path / "3") == members


def test_place_chooses_and_renames(tmp_path):
    make_zip(tmp_path / "x.zip", {"top/a.wav": b"a", "top/notes.txt": b"n"})

    def place(name: str) -> str | None:
        return name.removeprefix("top/") if name.endswith(".wav") else None

    assert files(unpack(tmp_path / "x.zip", tmp_path / "out", progress=False, place=place)) == {"a.wav": b"a"}


@pytest.mark.parametrize(
    "name", ["../out.wav", "a/../../out.wav", "/tmp/out.wav", "..\\out.wav", "C:\\out.wav", "../up/"]
)
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_nothing_is_written_outside_the_target(tmp_path, name, kind):
    path = tmp_path / "in" / f"x.{kind}"
    path.parent.mkdir()
    if kind == "zip":
        make_zip(path, {"good.wav": b"g", name: b""})
    else:
        make_tar(path, [(tarfile.TarInfo("good.wav"), b"g"), (tarfile.TarInfo(name), b"")])
    with pytest.raises(BadArchive, match="outside the target") as error:
        # Left out or not: an archive with such a name in it is not to be trusted.
        unpack(path, tmp_path / "target", progress=False, place=lambda name: "good.wav" if "good" in name else None)
    one_line(error)
    assert list(tmp_path.iterdir()) == [tmp_path / "in"]


def test_links_are_refused(tmp_path):
    link = tarfile.TarInfo("link.wav")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    make_tar(tmp_path / "x.tar.gz", [(tarfile.TarInfo("good.wav"), b"g"), (link, b"")])
    entry = zipfile.ZipInfo("link.wav")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("good.wav", b"g")
        archive.writestr(entry, "/etc/passwd")
    for name in ("x.tar.gz", "x.zip"):
        with pytest.raises(BadArchive, match="is a link"):
            unpack(tmp_path / name, tmp_path / "target", progress=False)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_truncated_archive_leaves_nothing(tmp_path, kind):
    noise = os.urandom(100_000)
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        make_zip(path, {"a.wav": noise, "b.wav": noise})
    else:
        make_tar(path, [(tarfile.TarInfo("a.wav"), noise), (tarfile.TarInfo("b.wav"), noise)])
    path.write_bytes(path.read_bytes()[:150_000])
    with pytest.raises(BadArchive, match="not a whole archive") as error:
        unpack(path, tmp_path / "target", progress=False)
    one_line(error)
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_member_leaves_nothing(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"a.wav": b"a" * 1000, "b.wav": b"b" * 1000})
    path.write_bytes(path.read_bytes().replace(b"b" * 1000, b"b" * 999 + b"x"))
    with pytest.raises(BadArchive, match="not a whole archive"):
        unpack(path, tmp_path / "target", progress=False)
    assert list(tmp_path.iterdir()) == [path]


def test_a_page_saved_as_an_archive_is_told(tmp_path):
    (tmp_path / "x.zip").write_text("<html>Please sign in</html>")
    with pytest.raises(BadArchive, match="neither a zip nor a tar"):
        unpack(tmp_path / "x.zip", tmp_path / "target", progress=False)


def test_an_interrupted_unpack_leaves_what_was_there(tmp_path):
    make_zip(tmp_path / "x.zip", {"a.wav": b"new"})
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "a.wav").write_bytes(b"old")

    def interrupt(folder: Path) -> None:
        assert files(folder) == {"a.wav": b"new"}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(tmp_path / "x.zip", tmp_path / "target", progress=False, finish=interrupt)
    assert files(tmp_path / "target") == {"a.wav": b"old"}
    assert {path.name for path in tmp_path.iterdir()} == {"x.zip", "target"}


def test_a_disk_too_small_is_told_before_anything_is_written(tmp_path, monkeypatch):
    make_zip(tmp_path / "x.zip", {"a.wav": b"a" * 1000})
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: SimpleNamespace(free=500))
    with pytest.raises(CourseError, match="are needed and"):
        unpack(tmp_path / "x.zip", tmp_path / "target", progress=False)
    assert not (tmp_path / "target").exists()


def test_a_bad_archive_from_the_network_is_not_kept(server, tmp_path):
    server.files["/corpus.zip"] = b"<html>Please sign in</html>"
    arguments = (f"{server.url}/corpus.zip",), "corpus.zip", tmp_path / "root", str, lambda folder: None, False
    with pytest.raises(BadArchive):
        install(*arguments)
    # The next try gets a good one: the bad one is not found again and believed.
    server.files["/corpus.zip"] = make_zip(tmp_path / "good.zip", {"a.wav": b"a"}).read_bytes()
    assert files(install(*arguments)) == {"a.wav": b"a"}
    assert not list((tmp_path / "downloads").iterdir())


def test_a_folder_that_is_not_ours_is_not_replaced(server, tmp_path):
    root = tmp_path / "thesis"
    root.mkdir()
    (root / "chapter1.txt").write_text("years of work")
    with pytest.raises(CourseError, match="holds something else"):
        install((f"{server.url}/corpus.zip",), "corpus.zip", root, str, lambda folder: None, False)
    assert files(root) == {"chapter1.txt": b"years of work"}
    assert not server.asked

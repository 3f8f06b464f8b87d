"""Downloads and archives, against a real server on this machine that cuts, refuses and forgets on order."""

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from serving import closed_port

from spokendigits import files
from spokendigits.corpora import download as downloads
from spokendigits.corpora.download import BadArchive, Unavailable, download, install, unpack
from spokendigits.errors import CourseError

BYTES = bytes(range(256)) * 2000


@pytest.fixture
def corpus(server):
    """A server that has a file."""
    server.files["/corpus.zip"] = BYTES
    return server


def get(server, folder, *urls):
    return download(urls or [f"{server.url}/corpus.zip"], folder, "corpus.zip", progress=False)


def kept(came: int) -> int:
    """Of the bytes that came before a cut, those that are kept: whole chunks."""
    return came // downloads.CHUNK * downloads.CHUNK


def refused(kind: type[CourseError], match: str, call, *arguments, **options) -> str:
    with pytest.raises(kind, match=match) as error:
        call(*arguments, **options)
    text = str(error.value)
    assert "\n" not in text and len(text) < 800
    return text


def test_a_download_is_whole_and_made_once(corpus, tmp_path):
    path = get(corpus, tmp_path)
    assert path == tmp_path / "corpus.zip" and path.read_bytes() == BYTES
    get(corpus, tmp_path)
    assert len(corpus.asked) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.zip"]


def test_a_cut_download_goes_on_where_it_stopped_as_long_as_bytes_come(corpus, tmp_path):
    cuts = list(range(50_000, 500_000, 50_000))
    assert len(cuts) > 2 * downloads.ATTEMPTS
    corpus.cuts = list(cuts)
    assert get(corpus, tmp_path).read_bytes() == BYTES
    assert [asked for _, asked in corpus.asked][:3] == [None, f"bytes={kept(50_000)}-", f"bytes={kept(100_000)}-"]


def test_a_cut_is_noticed_even_where_the_library_below_does_not_count(corpus, tmp_path, monkeypatch):
    ask = downloads.requests.get

    def lenient(*arguments, **options):
        response = ask(*arguments, **options)
        response.raw.enforce_content_length = False  # as urllib3 1.x has it
        return response

    monkeypatch.setattr(downloads.requests, "get", lenient)
    corpus.cuts = [100_000]
    assert get(corpus, tmp_path).read_bytes() == BYTES
    assert [asked for _, asked in corpus.asked] == [None, "bytes=100000-"]


def test_what_came_before_an_interruption_is_used_in_the_next_session(corpus, tmp_path, monkeypatch):
    class Pressed(downloads.tqdm):
        """A progress bar during which Ctrl-C is pressed."""

        def update(self, size):
            if Path(tmp_path / "corpus.zip.part").stat().st_size:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(downloads, "tqdm", Pressed)
        get(corpus, tmp_path)
    came = (tmp_path / "corpus.zip.part").stat().st_size
    assert 0 < came < len(BYTES) and not (tmp_path / "corpus.zip").exists()
    assert get(corpus, tmp_path).read_bytes() == BYTES
    assert corpus.asked[-1] == ("/corpus.zip", f"bytes={came}-")


def test_a_server_that_always_cuts_is_given_up_and_nothing_passes_as_whole(corpus, tmp_path):
    corpus.cuts = [50_000] * 20
    assert "127.0.0.1" in refused(Unavailable, "could not be downloaded", get, corpus, tmp_path)
    assert not (tmp_path / "corpus.zip").exists()
    assert len(corpus.asked) == downloads.ATTEMPTS


@pytest.mark.parametrize("lengths", [True, False])
def test_a_server_that_ignores_ranges_is_asked_for_all_of_it_again(corpus, tmp_path, lengths):
    # Without a length a cut cannot be told from the end; what came is then the caller's to verify.
    corpus.ranges, corpus.lengths, corpus.cuts = False, lengths, [100_000] if lengths else []
    assert get(corpus, tmp_path).read_bytes() == BYTES


@pytest.mark.parametrize("ranges", [True, False])
def test_an_archive_made_on_demand_is_whole_although_its_length_is_not_announced(corpus, tmp_path, ranges):
    corpus.chunked, corpus.ranges, corpus.cuts = True, ranges, [100_000]
    assert get(corpus, tmp_path).read_bytes() == BYTES
    corpus.cuts = [100_000] * 50
    refused(Unavailable, "could not be downloaded", get, corpus, tmp_path / "again")
    assert not (tmp_path / "again" / "corpus.zip").exists()


@pytest.mark.parametrize("change", ["the file", "the part"])
def test_a_part_that_does_not_belong_to_the_file_is_thrown_away(corpus, tmp_path, monkeypatch, change):
    corpus.cuts = [100_000]
    with monkeypatch.context() as patch:
        patch.setattr(downloads, "ATTEMPTS", 1)
        refused(Unavailable, "could not be downloaded", get, corpus, tmp_path)
    if change == "the file":
        corpus.files["/corpus.zip"] = BYTES[::-1]
    else:
        with open(tmp_path / "corpus.zip.part", "ab") as part:
            part.write(b"x" * len(BYTES))
    assert get(corpus, tmp_path).read_bytes() == corpus.files["/corpus.zip"]
    assert [asked for _, asked in corpus.asked][2:] == [None]  # after an error 416, or a file that is another


def test_mirrors_are_tried_in_order_and_a_busy_server_is_asked_again(corpus, tmp_path):
    urls = [f"http://127.0.0.1:{closed_port()}/x", f"{corpus.url}/gone.zip", f"{corpus.url}/corpus.zip"]
    assert get(corpus, tmp_path, *urls).read_bytes() == BYTES
    assert [path for path, _ in corpus.asked] == ["/gone.zip", "/corpus.zip"]  # a 404 is not asked again
    corpus.statuses = [503, 429]
    assert get(corpus, tmp_path / "busy").read_bytes() == BYTES


def test_no_network_is_one_line_with_the_manual_way_out(corpus, tmp_path, monkeypatch):
    url = f"http://127.0.0.1:{closed_port()}/corpus.zip"
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for proxy in (f"http://127.0.0.1:{closed_port()}", "nonsense", ""):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        via = r" \(asked through the proxy of HTTP_PROXY" if proxy else r"\."
        text = refused(CourseError, rf"no connection to 127.0.0.1:\d+{via}", get, corpus, tmp_path, url)
    assert url in text and str(tmp_path / "corpus.zip") in text and "SPOKENDIGITS_DATA" in text
    # The way out works: the file put there by hand is taken.
    (tmp_path / "corpus.zip").write_bytes(BYTES)
    assert get(corpus, tmp_path, url).read_bytes() == BYTES


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_line(corpus, tmp_path):
    (tmp_path / "corpus.zip.part").symlink_to("/dev/full")
    refused(CourseError, "the disk is full", get, corpus, tmp_path)
    assert not (tmp_path / "corpus.zip").exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nobody forbids root to write")
def test_a_folder_that_cannot_be_written_is_one_line(corpus, tmp_path):
    tmp_path.chmod(0o500)
    refused(CourseError, "Permission denied", get, corpus, tmp_path)


def archive(path: Path, members: dict[str, bytes], link: str | None = None) -> Path:
    """A zip or tar.gz, as its name says; `link` is one to a file elsewhere."""
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            for name, content in members.items():
                packed.writestr(name, content)
            if link:
                entry = zipfile.ZipInfo(link)
                entry.create_system, entry.external_attr = 3, 0o120777 << 16
                packed.writestr(entry, "/etc/passwd")
        return path
    with tarfile.open(path, "w:gz") as packed:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            packed.addfile(info)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wav_alone(name: str) -> str | None:
    return name.removeprefix("top/") if name.endswith(".wav") else None


both = pytest.mark.parametrize("kind", ["zip", "tar.gz"])


def test_zip_tar_and_folder_unpack_alike_and_place_chooses_and_renames(tmp_path):
    members = {"top/a.wav": b"a", "top/b/c.wav": b"c", "top/notes.txt": b"n"}
    archive(tmp_path / "windows.zip", {name.replace("/", "\\"): content for name, content in members.items()})
    (tmp_path / "x.tar").write_bytes(gzip.decompress(archive(tmp_path / "x.tar.gz", members).read_bytes()))
    archive(tmp_path / "x.zip", members)
    for number, name in enumerate(("x.zip", "x.tar.gz", "windows.zip", "x.tar")):
        assert contents(unpack(tmp_path / name, tmp_path / str(number), progress=False)) == members
    for name in ("x.zip", "x.tar.gz", "0"):
        chosen = unpack(tmp_path / name, tmp_path / f"chosen-{name}", progress=False, place=wav_alone)
        assert contents(chosen) == {"a.wav": b"a", "b/c.wav": b"c"}


@pytest.mark.parametrize(
    "name", ["../out.wav", "a/../../out.wav", "/tmp/out.wav", "..\\out.wav", "C:\\out.wav", "../up/"]
)
@both
def test_nothing_is_written_outside_the_target(tmp_path, name, kind):
    path = archive(tmp_path / "in" / f"x.{kind}", {"good.wav": b"g", name: b""})
    # Left out or not: an archive with such a name in it is not to be trusted.
    place = {"good.wav": "good.wav"}.get
    refused(BadArchive, "outside the target", unpack, path, tmp_path / "target", progress=False, place=place)
    assert list(tmp_path.iterdir()) == [tmp_path / "in"]


@both
def test_links_and_encrypted_files_and_files_twice_are_refused(tmp_path, kind):
    path = archive(tmp_path / f"x.{kind}", {"good.wav": b"g"}, link="link.wav")
    refused(BadArchive, "is a link", unpack, path, tmp_path / "target", progress=False)
    path = archive(tmp_path / f"twice.{kind}", {"a/0.wav": b"g", "b/0.wav": b"h"})
    refused(BadArchive, "0.wav more than once", unpack, path, tmp_path / "target", False, lambda name: name[2:])
    if kind == "zip":
        path = archive(tmp_path / "secret.zip", {"0.wav": b"g"})
        content = path.read_bytes()
        at = content.index(b"PK\x01\x02") + 8  # the flags in the list of contents
        path.write_bytes(content[:at] + b"\x01" + content[at + 1 :])
        refused(BadArchive, "encrypted", unpack, path, tmp_path / "target", progress=False)
    assert not (tmp_path / "target").exists()


@both
def test_a_broken_archive_leaves_nothing(tmp_path, kind):
    path = archive(tmp_path / f"x.{kind}", {"a.wav": os.urandom(100_000), "b.wav": b"b" * 1000})
    whole = path.read_bytes()
    damaged = [whole[:90_000], b"<html>Please sign in</html>"]
    if kind == "zip":
        damaged.append(whole.replace(b"b" * 1000, b"b" * 999 + b"x"))
    for content in damaged:
        path.write_bytes(content)
        refused(
            BadArchive,
            "not a whole archive|neither a zip nor a tar.gz .a sign-in page",
            unpack,
            path,
            tmp_path / "target",
            progress=False,
        )
        assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_unpack_leaves_what_was_there(tmp_path):
    archive(tmp_path / "x.zip", {"a.wav": b"new"})
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "a.wav").write_bytes(b"old")

    def interrupt(folder: Path) -> None:
        assert contents(folder) == {"a.wav": b"new"}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(tmp_path / "x.zip", tmp_path / "target", progress=False, finish=interrupt)
    assert contents(tmp_path / "target") == {"a.wav": b"old"}
    assert {path.name for path in tmp_path.iterdir()} == {"x.zip", "target"}


@pytest.mark.parametrize("given", ["x.zip", "x.tar.gz", "folder"])
def test_a_disk_too_small_is_told_before_anything_is_written(tmp_path, monkeypatch, given):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.wav").write_bytes(b"a" * 1000)
    if given != "folder":
        archive(tmp_path / given, {"a.wav": b"a" * 1000})
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: SimpleNamespace(free=500))
    refused(CourseError, "are needed and", unpack, tmp_path / given, tmp_path / "target", progress=False)
    assert not (tmp_path / "target").exists()


def put(source, sources: dict, root: Path) -> Path:
    return install("test", source, sources, "corpus.zip", root, str, lambda folder: None, progress=False)


def test_a_bad_archive_from_the_network_is_not_kept(server, tmp_path):
    server.files["/corpus.zip"] = b"<html>Please sign in</html>"
    sources = {"here": [f"{server.url}/corpus.zip"]}
    refused(BadArchive, "sign-in page", put, "here", sources, tmp_path / "root")
    # The next try gets a good one: the bad one is not found again and believed.
    server.files["/corpus.zip"] = archive(tmp_path / "good.zip", {"a.wav": b"a"}).read_bytes()
    assert contents(put("here", sources, tmp_path / "root")).keys() == {"a.wav", "corpus.json"}
    assert not list((tmp_path / "downloads").iterdir())


def test_a_folder_that_is_not_ours_is_not_replaced(server, tmp_path):
    root = tmp_path / "thesis"
    root.mkdir()
    (root / "chapter1.txt").write_text("years of work")
    refused(CourseError, "holds something else", put, "here", {"here": [f"{server.url}/corpus.zip"]}, root)
    assert contents(root) == {"chapter1.txt": b"years of work"}
    assert not server.asked


def test_all_that_a_kill_while_unpacking_leaves_is_named_for_the_next_to_clear_away(tmp_path):
    beside = []
    source, target = archive(tmp_path / "x.zip", {"a.wav": b"a"}), tmp_path / "data" / "x"
    unpack(source, target, progress=False, finish=lambda folder: beside.extend(os.listdir(target.parent)))
    assert len(beside) == 2 and all(files.HALF in name for name in beside)

"""Speech Commands: a small archive of its shape over a local network, a part without its lists, and planted faults."""

import io
import tarfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import soundfile
from refusing import refused

from spokendigits import corpora
from spokendigits.corpora import download, speech_commands
from spokendigits.corpora.corpus import Corpus
from spokendigits.corpora.synthetic import WORDS
from spokendigits.splits import split

OTHERS = {"backward", "bed", "bird", "cat", "dog", "down", "follow", "forward", "go", "happy", "house", "learn", "left"}
OTHERS |= {"marvin", "no", "off", "on", "right", "sheila", "stop", "tree", "up", "visual", "wow", "yes"}
# Speakers of the published lists of version 0.01, whose rule is the same.
VALIDATION, TEST, TRAIN = ("471a0925", "7c1d8533"), ("2aa787cf", "ffa76c4a"), ("0a1b2c3d", "0b2c3d4e", "00b01445")
PEOPLE = (*VALIDATION, *TEST, *TRAIN)
NOISE = np.random.default_rng(0)


def recording(seconds: float = 0.1) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, NOISE.uniform(-0.1, 0.1, round(16_000 * seconds)), 16_000, format="WAV", subtype="PCM_16")
    return file.getvalue()


def listed(*people: str) -> bytes:
    return "".join(f"{word}/{who}_nohash_0.wav\n" for word in [*WORDS, *OTHERS] for who in people).encode()


def packed(**changes: bytes | None) -> bytes:
    """The archive: everybody says each word once, and two noises. `changes`: members that are others, or left out."""
    members = {f"./{word}/{who}_nohash_0.wav": recording() for word in [*WORDS, *OTHERS] for who in PEOPLE}
    members |= {f"./_background_noise_/{noise}.wav": recording(2) for noise in ("pink_noise", "running_tap")}
    members |= {"./_background_noise_/README.md": b"noises", "./README.md": b"readme", "./LICENSE": b"CC BY"}
    members |= {"./validation_list.txt": listed(*VALIDATION), "./testing_list.txt": listed(*TEST)}
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in (members | changes).items():
            if content is not None:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def offer(server, monkeypatch):
    """Puts an archive on a server, with its digest or another one."""

    def put(content: bytes, digest: str | None = None):
        server.files[f"/{speech_commands.ARCHIVE}"] = content
        monkeypatch.setitem(speech_commands.SOURCES, "tensorflow", (f"{server.url}/{speech_commands.ARCHIVE}",))
        monkeypatch.setattr(speech_commands, "DIGEST", digest or sha256(content).hexdigest())
        return server

    monkeypatch.setattr(speech_commands, "SHAPE", (35 * len(PEOPLE), 35))
    return put


def everything(root: Path) -> Corpus:
    return corpora.load("speech_commands", source=root, kinds=("digit", "word", "noise"))


def test_it_is_fetched_once_resumed_and_read(offer, own_home):
    server = offer(packed())
    server.cuts = [2 * download.CHUNK]
    root = corpora.fetch("speech_commands", progress=False)
    assert [asked for _, asked in server.asked] == [None, f"bytes={2 * download.CHUNK}-"]
    assert root == own_home / "data" / "speech_commands" and not list((root.parent / "downloads").iterdir())
    assert {path.name for path in root.iterdir() if path.is_file()} == (
        {"corpus.json", "README.md", "LICENSE", *speech_commands.LISTS.values()}
    )
    assert (root / "README.md").read_text() == "readme"
    corpus = everything(root)
    table = corpus.table
    assert len(table) == 35 * len(PEOPLE) + 2 and corpus.notes == () and corpus.licence == "CC BY 4.0"
    said = table[table["kind"] == "digit"].groupby("word")["digit"].agg(["min", "max", "size"])
    assert said.loc[[*WORDS]].to_numpy().tolist() == [[digit, digit, len(PEOPLE)] for digit in range(10)]
    others = table[table["kind"] == "word"]
    assert set(others["word"]) == OTHERS and (others["digit"] == -1).all()
    noises = table[table["kind"] == "noise"]
    assert noises[["word", "digit", "speaker", "take", "part"]].to_numpy().tolist() == [
        ["pink_noise", -1, "noise", 0, "train"],
        ["running_tap", -1, "noise", 1, "train"],
    ]
    parts = table[table["kind"] != "noise"].groupby("part")["speaker"].unique().map(set).to_dict()
    assert parts == {"validation": set(VALIDATION), "test": set(TEST), "train": set(TRAIN)}
    # It is there now: nobody asks for it again, and without being asked only digits are read.
    assert corpora.fetch("speech_commands", progress=False) == root
    assert len(corpora.load("speech_commands", progress=False)) == 10 * len(PEOPLE)
    assert len(server.asked) == 2
    # A file that goes is missed, and fetching mends it.
    (root / "tree" / f"{PEOPLE[0]}_nohash_0.wav").unlink()
    refused("244 of 245 recordings .* Run `spokendigits fetch", corpora.load, "speech_commands", progress=False)
    corpora.fetch("speech_commands", progress=False)
    assert len(server.asked) == 3 and len(everything(root)) == len(table)


@pytest.mark.parametrize("cuts", [[], [2 * download.CHUNK]])
def test_an_archive_that_is_another_is_named_with_both_digests_and_not_kept(offer, own_home, cuts):
    content = packed()
    offer(content, "0" * 64).cuts = cuts
    said = refused("Download it again", corpora.fetch, "speech_commands", progress=False)
    assert all(word in said for word in (speech_commands.ARCHIVE, "0" * 64, sha256(content).hexdigest()))
    assert not [path for path in own_home.rglob("*") if path.name != "downloads" and path != own_home / "data"]
    offer(content)
    assert corpora.verify("speech_commands", corpora.fetch("speech_commands", progress=False)) == []


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"./../escaped.wav": b"x"}, "leads outside the target folder. Nothing was unpacked"),
        ({"./tree/2aa787cf_nohash_0.wav": None}, "244 recordings of 35 words, and Speech Commands has 245 of 35"),
        ({f"./tree/{who}_nohash_0.wav": None for who in PEOPLE}, "238 recordings of 34 words"),
    ],
)
def test_what_is_unsafe_or_not_whole_is_not_unpacked(offer, own_home, changes, match):
    offer(packed(**changes))
    refused(match, corpora.fetch, "speech_commands", progress=False)
    assert not (own_home / "data" / "speech_commands").exists() and not list(own_home.rglob("*.wav"))


def part(folder: Path, words, people=PEOPLE) -> Path:
    for word in words:
        (folder / word).mkdir(parents=True)
        for who in people:
            (folder / word / f"{who}_nohash_3.wav").write_bytes(recording())
    return folder


def test_a_part_without_lists_is_read_and_said_to_be_one(tmp_path, monkeypatch):
    root = part(tmp_path / "speech_commands", ["seven", "tree"])
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(tmp_path))
    assert corpora.fetch("speech_commands", progress=False) == root
    corpus = corpora.load("speech_commands", progress=False)
    assert corpus.root == root and set(corpus.table["digit"]) == {7} and set(corpus.table["take"]) == {3}
    assert corpus.notes[0] == "A part of Speech Commands: 14 of 105,829 recordings." and "rule" in corpus.notes[1]
    by_rule = dict(zip(corpus.table["speaker"], corpus.table["part"], strict=True))
    parts = {"validation": VALIDATION, "test": TEST, "train": TRAIN}
    assert by_rule == {who: name for name, people in parts.items() for who in people}
    (tmp_path / "empty").mkdir()
    refused("0 of 105,829 recordings", corpora.read, "speech_commands", tmp_path / "empty")


def test_the_published_split_asks_about_digits_alone_and_mixes_no_speakers(offer):
    offer(packed())
    root = corpora.fetch("speech_commands", progress=False)
    corpus = everything(root)
    parts = split(corpus, "published")
    assert [len(rows) for rows in vars(parts).values()] == [35 * len(TRAIN) + 2, 20, 20]
    assert (corpus.table["digit"].iloc[[*parts.validation, *parts.test]] >= 0).all()
    assert set(corpus.table["speaker"].iloc[parts.validation]) == set(VALIDATION)
    refused("no validation speaker is here", split, corpus.part(speakers=3), "published")
    # One word of a speaker who validates is listed for testing.
    for name, change in (
        ("validation_list.txt", (b"seven/471a0925", b"seven/0")),
        ("testing_list.txt", (b"\n", b"\nseven/471a0925_nohash_0.wav\n")),
    ):
        (root / name).write_bytes((root / name).read_bytes().replace(*change, 1))
        refused("but 471a0925 are on both sides", split, everything(root), "published")


@pytest.mark.parametrize("how", ["random", "speaker", "one_speaker"])
def test_other_words_change_nobodys_fold_and_are_never_asked_about(tmp_path, how):
    # Two of them say no digit.
    corpus = everything(part(part(tmp_path, ["seven", "tree"]), ["up", "down"], ("00f0204f", "fe1916ba")))
    digits = corpus.part(kinds=["digit"])
    held_out, alone = (one.table["path"].iloc[split(one, how, 5, 1).validation] for one in (corpus, digits))
    assert list(held_out) == list(alone)
    train = corpus.table.iloc[split(corpus, how, 5, 1).train]
    assert (train["digit"] < 0).any() and (how == "random" or not set(train["speaker"]) & {held_out.iloc[0][6:14]})

"""Recorded corpora: fetched over a local network, verified, read, audited; faults are planted and must be named."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from refusing import refused
from serving import closed_port

from spokendigits import corpora, lanes
from spokendigits.corpora import audiomnist, folder, fsdd
from spokendigits.corpora import download as downloads
from spokendigits.splits import Split
from spokendigits.topics import sound

META = {  # the published file's kinds of slips: ages as text, a joke, spellings
    "01": {"accent": "german", "age": 30, "gender": "male", "native speaker": "no", "recordingroom": "Kino"},
    "02": {"accent": "German", "age": "25", "gender": "female", "native speaker": "yes", "recordingroom": "vr-room"},
    "03": {"accent": "German", "age": "1234", "gender": "male", "native speaker": "no", "recordingroom": "vr-romm"},
}


@pytest.fixture(autouse=True)
def home(own_home, monkeypatch) -> Path:
    """The test's own home; and AudioMNIST is three speakers and two takes large."""
    monkeypatch.setattr(audiomnist, "SHAPE", {"speakers": 3, "digits": 10, "takes": 2})
    return own_home


def tone(path: Path, number: int = 0, seconds: float = 0.2, rate: int = 8000, **options) -> Path:
    """A short tone, another one for every number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(int(seconds * rate)) / rate
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * (200 + number) * times), rate, **options)
    return path


def small_audiomnist(root: Path) -> Path:
    for speaker in (1, 2, 3):
        for digit in range(10):
            for take in range(2):
                name = f"{digit}_{speaker:02d}_{take}.wav"
                tone(root / "data" / f"{speaker:02d}" / name, speaker * 100 + digit * 10 + take)
    (root / "data" / "audioMNIST_meta.txt").write_text(json.dumps(META))
    (root / "README.md").write_text("not a recording")
    return root


def zipped(source: Path, top: str) -> bytes:
    path = source.with_name("made.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(source.rglob("*")):
            archive.write(file, f"{top}/{file.relative_to(source).as_posix()}")
    content = path.read_bytes()
    path.unlink()
    return content


# AudioMNIST


@pytest.fixture
def tree(tmp_path) -> Path:
    return small_audiomnist(tmp_path / "tree")


def test_audiomnist_from_github_cut_in_the_middle(tree, server, monkeypatch, home):
    server.files["/master.zip"] = zipped(tree, "AudioMNIST-master")
    server.cuts = [100_000]
    monkeypatch.setitem(audiomnist.SOURCES, "github", (f"{server.url}/master.zip",))
    corpus = corpora.load("audiomnist", progress=False)
    assert [asked for _, asked in server.asked] == [None, f"bytes={100_000 // downloads.CHUNK * downloads.CHUNK}-"]
    assert corpus.root == home / "data" / "audiomnist"
    assert len(corpus) == 60 and corpus.speakers == ["01", "02", "03"]
    first = corpus.table.iloc[0]
    assert (first["path"], first["digit"], first["speaker"], first["take"]) == ("data/01/0_01_0.wav", 0, "01", 0)
    assert corpus.file(0).read_bytes() == (tree / "data/01/0_01_0.wav").read_bytes()
    assert corpora.verify("audiomnist", corpus.root) == []
    # The second time it is there, and the server is left in peace.
    assert corpora.load("audiomnist", progress=False).table.equals(corpus.table)
    assert corpora.fetch("audiomnist", progress=False) == corpus.root
    assert len(server.asked) == 2
    assert corpora.load("audiomnist", takes=1, progress=False).table["take"].unique().tolist() == [0]


def test_audiomnist_facts_are_repaired_and_the_repairs_told(tree):
    corpus = corpora.read("audiomnist", tree)
    facts = corpus.table.groupby("speaker").first()
    assert facts["age"].fillna(-1).tolist() == [30, 25, -1]
    assert facts["accent"].tolist() == ["German"] * 3
    assert facts["room"].tolist() == ["Kino", "vr-room", "vr-room"]
    assert facts["native"].tolist() == [False, True, False]
    assert facts["gender"].tolist() == ["male", "female", "male"]
    assert facts["origin"].isna().all()
    notes = " ".join(corpus.notes)
    assert "Speaker 03: the age 1234" in notes and "german = German" in notes and "vr-romm = vr-room" in notes
    assert "0_19_22" not in notes and "A part of" not in notes
    # A clip that sounds like "three", of a speaker about whom nothing is said; and other clips are missing.
    tone(tree / "data/19/0_19_22.wav")
    shutil.rmtree(tree / "data" / "03")
    corpus = corpora.load("audiomnist", source=tree, progress=False)
    notes = " ".join(corpus.notes)
    assert "0_19_22" in notes and "nothing about speaker(s) 19" in notes and "41 of 60" in notes
    assert corpus.table.loc[corpus.table["speaker"] == "19", "gender"].isna().all()


def test_audiomnist_goes_to_the_next_source(tree, server, monkeypatch):
    audio = tree.with_name("h2o")
    for path in tree.rglob("*.wav"):
        shutil.copy(path, tone(audio / "amnist_audios" / path.name))
    rows = [f"{path.name},{path.name[0]}" for path in audio.rglob("*.wav")]
    (audio / "amnist_meta.csv").write_text("audio,label\n" + "\n".join(rows))
    server.files["/h2o.zip"] = zipped(audio, "amnist_audio_regression")
    server.files["/master.zip"] = zipped(tree / "data" / "01", "AudioMNIST-master/data/01")  # not all of it
    monkeypatch.setitem(audiomnist.SOURCES, "github", (f"{server.url}/master.zip",))
    monkeypatch.setitem(audiomnist.SOURCES, "h2o", (f"{server.url}/h2o.zip",))
    corpus = corpora.load("audiomnist", progress=False)
    assert [path for path, _ in server.asked] == ["/master.zip", "/h2o.zip"]
    assert len(corpus) == 60 and corpus.table["gender"].isna().all()
    assert any("says nothing about the speakers" in note for note in corpus.notes)
    assert "h2o" in corpus.source
    table = corpus.root / "data" / "amnist_meta.csv"
    table.write_text(table.read_text().replace("4_02_1.wav,4", "4_02_1.wav,5"))
    assert corpora.verify("audiomnist", corpus.root) == ["1 file(s) labelled otherwise in amnist_meta.csv: 4_02_1.wav."]


def test_audiomnist_without_any_network(monkeypatch, home):
    for source in audiomnist.SOURCES:
        monkeypatch.setitem(audiomnist.SOURCES, source, (f"http://127.0.0.1:{closed_port()}",))
    text = refused("no connection", corpora.load, "audiomnist", progress=False)
    assert "SPOKENDIGITS_DATA" in text and "in a browser" in text
    assert not (home / "data" / "audiomnist").exists()


def hub(server, tmp_path, monkeypatch, tree: Path) -> None:
    """Stands in for the hub: the list of files, and one parquet file in the published form."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    names = [path.name for path in sorted(tree.rglob("*.wav"))]
    facts = [META[name[2:4]] for name in names]
    table = pyarrow.table(
        {
            "speaker_id": [name[2:4] for name in names],
            "audio": [{"bytes": path.read_bytes(), "path": path.name} for path in sorted(tree.rglob("*.wav"))],
            "digit": [int(name[0]) for name in names],
            "gender": [int(said["gender"] == "female") for said in facts],
            "accent": [said["accent"] for said in facts],
            "age": [int(said["age"]) for said in facts],
            "native_speaker": [said["native speaker"] == "yes" for said in facts],
        }
    )
    features = {"info": {"features": {"gender": {"names": ["male", "female"], "_type": "ClassLabel"}}}}
    parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "x.parquet")
    content = (tmp_path / "x.parquet").read_bytes()
    repository, paths = "datasets/gilkeyio/AudioMNIST", ("README.md", "data/train.parquet")
    listed = {"id": "gilkeyio/AudioMNIST", "siblings": [{"rfilename": path} for path in paths]}
    server.files[f"/api/{repository}"] = json.dumps(listed).encode()
    server.files[f"/{repository}/resolve/main/data/train.parquet"] = content
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def test_audiomnist_from_the_hub(tree, server, tmp_path, monkeypatch):
    hub(server, tmp_path, monkeypatch, tree)
    corpus = corpora.load("audiomnist", source="huggingface", progress=False)
    assert len(corpus) == 60
    assert corpus.file(7).read_bytes() == (tree / corpus.table["path"][7]).read_bytes()
    facts = corpus.table.groupby("speaker").first()
    assert facts["gender"].tolist() == ["male", "female", "male"]
    assert facts["native"].tolist() == [False, True, False]
    assert facts["age"].fillna(-1).tolist() == [30, 25, -1]
    assert any("16 kHz" in note for note in corpus.notes)
    assert corpora.verify("audiomnist", corpus.root) == []
    assert not list((corpus.root.parent / "downloads").iterdir())


def test_audiomnist_from_the_hub_that_is_not_whole_or_cannot_be_had(tree, server, tmp_path, monkeypatch, home):
    def fetch(match: str) -> None:
        refused(match, corpora.fetch, "audiomnist", source="huggingface", progress=False)
        assert not (home / "data" / "audiomnist").exists()

    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    fetch("did not send gilkeyio/AudioMNIST.*another source")
    (tree / "data/03/9_03_1.wav").unlink()
    hub(server, tmp_path, monkeypatch, tree)
    fetch("1 of 60 recordings are missing: 9_03_1")
    server.files["/datasets/gilkeyio/AudioMNIST/resolve/main/data/train.parquet"] = b"no parquet"
    fetch("not the expected tables")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    fetch("pip install pyarrow")


def test_audiomnist_from_a_local_folder_or_zip(tree, tmp_path, home):
    assert corpora.load("audiomnist", source=tree, progress=False).root == tree  # read where it is
    (tmp_path / "copy.zip").write_bytes(zipped(tree, "AudioMNIST-master"))
    corpus = corpora.load("audiomnist", source=tmp_path / "copy.zip", progress=False)
    assert len(corpus) == 60 and corpus.root.parent == home / "data" and corpus.root.name != "audiomnist"
    assert corpora.load("audiomnist", source=str(tmp_path / "copy.zip"), progress=False).root == corpus.root
    assert corpora.fetch("audiomnist", source=tree, progress=False) == home / "data" / "audiomnist"
    assert (home / "data" / "audiomnist" / "data" / "03" / "9_03_1.wav").is_file()
    refused("no such file or folder", corpora.load, "audiomnist", source=tmp_path / "nowhere.zip")


SEVEN, META_FILE = "data/02/7_02_1.wav", "data/audioMNIST_meta.txt"
CUT = "not usable: 7_02_1.wav: truncated (956 of 3200 bytes of audio)."
SILENT = json.dumps({"01": META["01"], "02": META["02"]})


@pytest.mark.parametrize(
    "plant, said, mended",  # what is put right, or left out, on the way in
    [
        (lambda tree: (tree / SEVEN).unlink(), "1 of 60 recordings are missing: 7_02_1.wav.", False),
        (lambda tree: (tree / SEVEN).write_text("7"), "1 file(s) not usable: 7_02_1.wav: unreadable (", False),
        (lambda tree: tone(tree / SEVEN, seconds=0), "1 file(s) not usable: 7_02_1.wav: empty (0 samples).", False),
        (lambda tree: (tree / SEVEN).write_bytes((tree / SEVEN).read_bytes()[:1000]), CUT, False),
        (
            lambda tree: (tree / SEVEN).rename(tree / "data/01/7_02_1.wav"),
            "1 file(s) in another speaker's folder",
            True,
        ),
        (lambda tree: tone(tree / "data/02/seven.wav"), "1 file(s) not part of AudioMNIST: seven.wav.", True),
        (lambda tree: tone(tree / "data/02/7_02_2.wav"), "1 file(s) not part of AudioMNIST: 7_02_2.wav.", False),
        (lambda tree: tone(tree / "more/7_2_1.wav"), "1 file(s) there twice: 7_02_1.wav.", False),
        (lambda tree: (tree / META_FILE).unlink(), "audioMNIST_meta.txt is missing", False),
        (lambda tree: (tree / META_FILE).write_text('{"01": '), "audioMNIST_meta.txt: no speakers' facts", False),
        (lambda tree: (tree / META_FILE).write_text(SILENT), "meta.txt says nothing about speaker(s) 03.", False),
        (lambda tree: (tree / META_FILE).write_text("{}"), "meta.txt says nothing about speaker(s) 01, 02, 03.", False),
    ],
)
def test_audiomnist_verify_names_the_fault(tree, home, monkeypatch, plant, said, mended):
    assert corpora.verify("audiomnist", tree) == []
    plant(tree)
    (problem,) = corpora.verify("audiomnist", tree)
    assert said in problem and "\n" not in problem
    if not mended:
        match = "more than once" if "twice" in said else "not a whole AudioMNIST"
        text = refused(match, corpora.fetch, "audiomnist", source=tree, progress=False)
        assert ".audiomnist-" not in text, "nobody finds what was unpacked and is gone"
        (tree.parent / "shared").mkdir()
        (tree.parent / "shared" / "audiomnist").symlink_to(tree)
        monkeypatch.setenv("SPOKENDIGITS_DATA", str(tree.parent / "shared"))
        text = refused("where SPOKENDIGITS_DATA leads: ", corpora.fetch, "audiomnist", progress=False)
        assert "unset SPOKENDIGITS_DATA" in text and said in text
        assert not (home / "data" / "audiomnist").exists()
    if "is missing" in said:
        refused(
            "is missing.*60 of 60 recordings are here.*spokendigits fetch audiomnist",
            corpora.load,
            "audiomnist",
            source=tree,
        )


def test_audiomnist_early_commit_is_recognised(tree, monkeypatch):
    for early in (["03"], ["02"]):
        monkeypatch.setattr(audiomnist, "EARLY", early)
        shutil.rmtree(tree / "data/03", ignore_errors=True)
        (problem,) = corpora.verify("audiomnist", tree)
        assert problem.startswith("20 of 60 recordings are missing: nothing of speaker(s) 03")
        assert ("6c5eb77" in problem) == (early == ["03"])


# FSDD


@pytest.fixture
def recordings(fsdd_root, tmp_path) -> Path:
    """FSDD's recordings as links, so that a test can put another file in the place of one."""
    target = tmp_path / "copy" / "recordings"
    target.mkdir(parents=True)
    for path in (fsdd_root / "recordings").glob("*.wav"):
        os.symlink(path, target / path.name)
    return target


def test_fsdd_over_the_network(fsdd_root, server, monkeypatch, tmp_path, home):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for path in (fsdd_root / "recordings").glob("*.wav"):
            archive.write(path, f"free-spoken-digit-dataset-1.0.10/recordings/{path.name}")
        archive.writestr("free-spoken-digit-dataset-1.0.10/metadata.py", "raise SystemExit")
    server.files["/v1.0.10.zip"] = (tmp_path / "x.zip").read_bytes()
    server.cuts = [5_000_000]
    monkeypatch.setitem(fsdd.SOURCES, "github", (f"{server.url}/v1.0.10.zip",))
    corpus = corpora.load("fsdd", progress=False)
    assert [bool(asked) for _, asked in server.asked] == [False, True]
    assert len(corpus) == 3000 and corpus.table.groupby(["speaker", "digit"]).size().eq(50).all()
    assert set(corpus.table["accent"]) == {"Greek", "US, neutral", "German", "Belgian French"}
    assert corpus.licence == "CC BY-SA 4.0" and not corpus.synthetic
    assert not list(corpus.root.rglob("*.py"))
    assert corpora.verify("fsdd", corpus.root) == []
    assert [path.name for path in corpus.root.parent.iterdir() if path.name != "downloads"] == ["fsdd"]
    # A byte that changes later is seen at the next load, and named: the list of digests was put beside the files.
    path = corpus.root / "recordings" / "7_jackson_32.wav"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    refused("1 file\\(s\\) changed: 7_jackson_32.wav", corpora.load, "fsdd", progress=False)
    # Fetching mends it.
    corpora.fetch("fsdd", progress=False)
    assert len(corpora.load("fsdd", takes=5, progress=False)) == 300


@pytest.mark.parametrize("beside", ["the list", "no list", "a false list"])
def test_fsdd_faults_are_named(recordings, fsdd_root, beside):
    if beside == "the list":
        shutil.copy(fsdd_root / "SHA256SUMS", recordings.parent)
    elif beside == "a false list":
        (recordings / "SHA256SUMS").write_text("0" * 64 + "  0_george_0.wav\n")
    assert fsdd.verify(recordings.parent) == fsdd.verify(recordings) == []
    changed = recordings / "3_theo_11.wav"
    content = bytearray(changed.read_bytes())
    content[-1] ^= 1
    changed.unlink()
    changed.write_bytes(content)
    (problem,) = fsdd.verify(recordings)
    unnamed = "At least one of 3,000 files was changed"
    assert problem.startswith("1 file(s) changed: 3_theo_11.wav." if beside == "the list" else unnamed)
    if beside != "the list":
        return
    (recordings / "0_george_0.wav").unlink()
    tone(recordings / "3_eve_0.wav")
    problems = " ".join(fsdd.verify(recordings))
    assert "1 file(s) missing: 0_george_0.wav." in problems and "1 file(s) not part of it: 3_eve_0.wav." in problems
    refused("not FSDD v1.0.10", corpora.load, "fsdd", source=recordings, progress=False)
    refused("not FSDD v1.0.10", corpora.fetch, "fsdd", source=recordings, progress=False)
    # The way out that the message names.
    assert len(corpora.load(str(recordings))) == 3000


@pytest.mark.slow
def test_two_that_fetch_at_once_take_turns(fsdd_root, server, tmp_path, home):
    """The second waits for the first, and finds it done: the server is asked once."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for path in (fsdd_root / "recordings").glob("*.wav"):
            archive.write(path, f"recordings/{path.name}")
    server.files["/x.zip"] = (tmp_path / "x.zip").read_bytes()
    code = "from spokendigits import corpora; from spokendigits.corpora import fsdd; "
    code += f"fsdd.SOURCES['github'] = ({server.url + '/x.zip'!r},); print(corpora.fetch('fsdd', progress=False))"
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True) for _ in range(3)]
    said = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0] * 3, said
    assert len(server.asked) == 1 and {out.strip() for out, _ in said} == {str(home / "data/fsdd")}
    assert not list((home / "data").glob(".*")), "no lock is left"


def test_a_shared_corpus_that_is_another_is_not_taken_for_it(tmp_path, home, monkeypatch, capsys):
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(tmp_path))
    monkeypatch.setattr(corpora, "fetch", lambda name, source, root, *_, **options: options)
    monkeypatch.setattr(corpora, "read", lambda name, root: SimpleNamespace(part=lambda *_: root))
    for name, made in {"synthetic/corpus.json": {"takes": 6, "seed": 0}, "voices/voices.json": {"seed": 0}}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(json.dumps(made))
    assert corpora.load("synthetic", takes=6) == corpora.load("synthetic", takes=3) == tmp_path / "synthetic"
    assert corpora.load("voices") == tmp_path / "voices" and capsys.readouterr().err == ""
    for options, why in (({}, "takes 6, not 50"), ({"takes": 3, "seed": 3}, "seed 0, not 3 and takes 6, not 3")):
        assert corpora.load("synthetic", **options)["takes"] == options.get("takes", 50)
        assert why in capsys.readouterr().err
    assert corpora.load("voices", seed=2) == {"seed": 2}


def test_fsdd_from_a_folder_survives_an_interruption(recordings, home, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(downloads.shutil, "copyfile", interrupt)
        with pytest.raises(KeyboardInterrupt):
            corpora.fetch("fsdd", source=recordings, progress=False)
    assert not (home / "data" / "fsdd").exists()
    root = corpora.fetch("fsdd", source=recordings, progress=False)
    assert fsdd.verify(root) == [] and not any(path.is_symlink() for path in root.rglob("*"))


def test_fsdd_put_there_by_hand_is_taken_and_the_shared_folder_before_it(
    recordings, fsdd_root, tmp_path, home, monkeypatch
):
    (home / "data" / "fsdd").mkdir(parents=True)
    os.symlink(recordings, home / "data" / "fsdd" / "recordings")
    assert corpora.load("fsdd", progress=False).root == home / "data" / "fsdd"
    (tmp_path / "shared").mkdir()
    os.symlink(fsdd_root, tmp_path / "shared" / "fsdd")
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(tmp_path / "shared"))
    assert corpora.load("fsdd", progress=False).root == tmp_path / "shared" / "fsdd"


def test_a_folder_without_recordings_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    assert len(fsdd.verify(tmp_path / "empty")) == 1
    refused("no FSDD recordings", corpora.read, "fsdd", tmp_path / "empty")
    refused("no AudioMNIST recordings", corpora.read, "audiomnist", tmp_path / "empty")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("notes.txt", "none")
    # Without the place where it was unpacked, which is gone.
    refused("empty.zip: not FSDD v1.0.10: no FSDD", corpora.fetch, "fsdd", tmp_path / "empty.zip", progress=False)


def test_what_github_packs_is_one_commit_or_release_and_no_branch():
    for address in (*audiomnist.SOURCES["github"], *fsdd.SOURCES["github"]):
        assert re.search(r"/([0-9a-f]{40}|refs/tags/v[\d.]+?)(\.zip)?$", address), address


# Names


@pytest.mark.timeout(60)  # a pipe without a writer would be waited for
def test_unknown_names_are_one_line_with_a_guess(tmp_path, home):
    assert "Did you mean 'fsdd'?" in refused("no such corpus", corpora.load, "fssd")
    assert "Did you mean 'audiomnist'?" in refused("no such corpus", corpora.load, "AudioMNIST")
    assert "Did you mean" not in refused("synthetic, voices, fsdd, audiomnist", corpora.load, str(tmp_path / "nowhere"))
    said = refused("no such corpus", corpora.fetch, "librispeech")
    assert "Known: synthetic, voices, fsdd, audiomnist, speech_commands, others." in said
    refused("is here already. Use it where it is: --corpus", corpora.fetch, str(tmp_path))
    os.mkfifo(tmp_path / "pipe.zip")
    for name in ("gone.zip", "pipe.zip"):
        refused("no such file or folder", corpora.load, "fsdd", source=tmp_path / name, progress=False)
    refused("at least one take", corpora.load, "fsdd", takes=0)
    assert not list(home.rglob("*.*"))


# Own recordings


def test_own_recordings_by_file_name(tmp_path):
    tone(tmp_path / "7_anna_maria_0.wav")
    tone(tmp_path / "more" / "3_ben_12.flac")
    tone(tmp_path / "more" / "4_ben_1.opus", rate=16000, format="OGG", subtype="OPUS")
    tone(tmp_path / "more" / "5_ben_1.mp3", rate=16000)
    tone(tmp_path / "more" / "6_ben_1.aiff")
    (tmp_path / "more" / "._5_ben_1.wav").write_bytes(b"what a Mac leaves behind")
    (tmp_path / "notes.txt").write_text("not a recording")
    corpus = corpora.load(str(tmp_path))
    assert corpus.table[["path", "digit", "speaker", "take"]].to_numpy().tolist() == [
        ["7_anna_maria_0.wav", 7, "anna_maria", 0],
        ["more/3_ben_12.flac", 3, "ben", 12],
        ["more/4_ben_1.opus", 4, "ben", 1],
        ["more/5_ben_1.mp3", 5, "ben", 1],
        ["more/6_ben_1.aiff", 6, "ben", 1],
    ]
    assert corpus.notes == () and corpora.verify(str(tmp_path), tmp_path) == []


def test_what_is_left_out_or_looks_like_two_people_is_noted(tmp_path):
    for name in ("anna/0_me_0.wav", "ben/0_me_0.wav", "ben/1_me_0.wav"):
        tone(tmp_path / name)
    for name in ("7_ben_0.m4a", "7_eve_0.webm", "8_eve_0.WEBM"):
        (tmp_path / name).write_bytes(b"from a phone")
    os.mkfifo(tmp_path / "7_queue_0.wav")
    *_, left_out, doubled = sorted(corpora.load(str(tmp_path)).notes, key=len)
    assert doubled.startswith(
        "2 clips share digit, speaker and take with another, anna/0_me_0.wav and ben/0_me_0.wav first"
    )
    left = "4 recordings were left out, for they cannot be read here: .m4a (1), .webm (2), no regular file (1). Save as WAV."
    assert left_out == left
    tone(tmp_path / "only/7_anna_99999999999999999999999.wav")
    refused("1 of 1 file names say no digit", corpora.load, str(tmp_path / "only"))


def test_the_fast_lane_takes_a_part_of_any_large_corpus(tmp_path, monkeypatch):
    for speaker, digit, take in product("abc", range(10), range(4)):
        (tmp_path / f"{digit}_{speaker}_{take}.wav").touch()
    own = str(tmp_path)
    for few, speakers, takes in ((120, None, None), (119, 3, 3), (60, 3, 2), (20, 2, 1)):
        monkeypatch.setattr(corpora, "FEW", few)
        monkeypatch.setattr(corpora, "SPEAKERS", 2 if few == 20 else 20)
        recipe = lanes.recipe("fast", own)
        assert (recipe.speakers, recipe.takes) == (speakers, takes)
        assert len(corpora.load(own, speakers=speakers, takes=takes)) <= few
        assert lanes.recipe("full", own).takes is None
    assert lanes.run_folder(20240105, "fast", own).name == "20240105", "as papermill hands it over"
    assert lanes.run_folder("", "fast", "recs (2): Zoë.").name == "fast-recs -2- Zoë-"
    for name in (" ", "mine ", "a:b", "CON", "com1.txt", "-x", ".hidden", "a/b", "..", "x" * 101, "a\nb", "mine."):
        refused("no name for a folder", lanes.run_folder, name, "fast", own)
    for given in ("{x", "[1]", "3", "{" * 9_000, "null"):
        monkeypatch.setenv(lanes.SETTINGS, given)
        refused(f"{lanes.SETTINGS}=.* no settings in JSON", lanes.recipe, "fast", own)
    monkeypatch.delenv(lanes.SETTINGS)
    assert lanes.recipe("fast", "fsdd").takes is None and lanes.recipe("fast", "voices").speakers == 1


@pytest.mark.parametrize(
    "pattern, names",
    [
        ("{digit}-*.wav", ["7-hello.wav", "3-x.wav"]),
        ("{speaker}/{digit}/{take}.wav", ["anna/7/0.wav", "ben/3/1.wav"]),
        ("**/{speaker}_{digit}.wav", ["a/b/anna_7.wav", "ben_3.wav"]),
        ("{speaker}/{speaker}_{digit}", ["anna/anna_7.wav", "ben/ben_3.wav"]),
    ],
)
def test_own_recordings_by_other_patterns(tmp_path, pattern, names):
    for name in names:
        tone(tmp_path / name)
    corpus = folder.read(tmp_path, pattern)
    assert sorted(corpus.table["digit"]) == [3, 7]
    if "{speaker}" in pattern:
        assert corpus.speakers == ["anna", "ben"]
    else:
        assert corpus.speakers == ["unknown"] and "voices that were never heard" in corpus.notes[0]
    if pattern == "{digit}-*.wav":  # takes are numbered when nobody did
        tone(tmp_path / "7-again.wav")
        table = folder.read(tmp_path, "{digit}-*").table
        assert dict(zip(table["path"], table["take"], strict=True)) == {
            "3-x.wav": 0,
            "7-again.wav": 0,
            "7-hello.wav": 1,
        }


def test_a_file_name_without_a_digit_is_one_line(tmp_path, monkeypatch):
    tone(tmp_path / "7_anna_0.wav")
    tone(tmp_path / "seven_anna_1.wav")
    text = refused("1 of 2 file names", corpora.load, str(tmp_path))
    assert "seven_anna_1.wav" in text and "{digit}_{speaker}_{take}.wav" in text
    refused("holds no {digit}", folder.read, tmp_path, "{speaker}.wav")
    refused("{word} is not known", folder.read, tmp_path, "{digit}_{word}.wav")
    (tmp_path / "none").mkdir()
    refused("no recordings here", corpora.load, str(tmp_path / "none"))

    def forbidden(folder):  # root may read all
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", forbidden)
    refused(f"{tmp_path}: Permission denied", corpora.load, str(tmp_path))


def test_own_recordings_by_csv(tmp_path):
    for name in ("x.wav", "y.wav", "sub/z.wav"):
        tone(tmp_path / name)
    csv = tmp_path / "list.csv"
    # A spreadsheet's mark, blanks, empty lines, and commas at the ends of lines.
    lines = [
        "\ufeffpath,digit,speaker,age,gender,",
        "x.wav,1 ,anna,30, F,",
        "",
        "y.wav,1,anna,31.5,m,",
        "sub\\z.wav, 2,,inf,d,",
    ]
    csv.write_text("\n".join(lines), encoding="utf-8")
    corpus = corpora.load(str(csv))
    # As other spreadsheets write it: another letter between the cells, UTF-16, a first line in capitals.
    for between, encoding in ((";", "utf-8"), ("\t", "utf-16"), (",", "utf-16")):
        lines[0] = lines[0].strip("\ufeff").upper()
        csv.write_text("\r\n".join(lines).replace(",", between), encoding=encoding)
        assert corpora.load(str(csv)).table.equals(corpus.table)
    assert corpus.table["path"].tolist() == ["x.wav", "y.wav", "sub/z.wav"]
    assert corpus.table["speaker"].tolist() == ["anna", "anna", "unknown"] and corpus.table["take"].tolist() == [
        0,
        1,
        0,
    ]
    assert corpus.table["age"].fillna(-1).tolist() == [30, 31, -1]
    assert corpus.table["gender"].tolist() == ["female", "male", "d"]
    assert corpus.notes[0] == "Ages that are none count as missing: inf." and len(corpus.notes) == 2
    table = corpus.table.assign(speaker=["$x^{$", "$x^{$", "b"])
    alt = sound.speakers(table)._repr_mimebundle_()["text/plain"]
    assert "2 speakers (1 d, 1 female)" in alt or "2 speakers (1 female, 1 d)" in alt
    assert sound.split_map(table, {"random": Split(*np.split(np.arange(3), [1, 2]))})._repr_mimebundle_()


@pytest.mark.parametrize(
    "text, match",
    [
        ("file,digit\nx.wav,1\n", "the column\\(s\\) path are missing; found file, digit"),
        ("path|digit\nx.wav|1\n", "digit, path are missing"),
        ("path,digit,speaker\nx.wav,1,Jos\xe9\n".encode("latin-1"), "not in UTF-8. Save it as 'CSV UTF-8'"),
        (f"path,digit\n{'x' * 5_000},1\n", r"not a file that is there in 1 of 1 rows, line 2 first \(x{100}\)"),
        ("path,digit\nx\0.wav,1\n", "not a file that is there"),
        ("path,digit\nx.wav,1\n\n,\n\nx.wav,ten\n", "digit is not a digit 0-9 in 1 of 2 rows, line 6 first \\(ten\\)"),
        ("path,digit,take\nx.wav,1,99999999999999999999999\n", "take is not a number"),
        ("path,digit\nx.wav,1\nx.wav,1,anna\n", "line 3 has more cells than the first line"),
        ("path,digit,digit\nx.wav,1,1\n", "two columns have the same name"),
        ("path,digit,take\nx.wav,1,first\n", "take is not a number"),
        ("path,digit\nx.wav,1\ngone.wav,2\n", "path is not a file that is there in 1 of 2 rows, line 3 first"),
        ("path,digit\nx.wav,1\n\nx.wav,2\n", "x.wav is listed twice, in lines 2 and 4"),
        ("path,digit\n", "names no recording"),
        ("", "names no recording"),
    ],
)
def test_a_faulty_csv_is_one_line(tmp_path, text, match):
    tone(tmp_path / "x.wav")
    (tmp_path / "list.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(match, corpora.load, str(tmp_path / "list.csv"))


# The audit


def test_audit_of_good_recordings(fsdd_root, tree):
    corpus = corpora.read("fsdd", fsdd_root).part(takes=10)
    table = corpora.audit(corpus, progress=False)
    assert list(table.columns) == ["check", "clips", "example", "advice"]
    faulty = table.set_index("check")["clips"].dropna()
    assert set(faulty[faulty > 0].index) <= {"shorter than 0.15 s", "longer than 1 s"}
    assert table.loc[table["check"] == "note", "advice"].tolist() == list(corpus.notes)
    table = corpora.audit(corpora.read("audiomnist", tree), progress=False).set_index("check")
    assert table.loc["missing facts", "clips"] == 60 and "origin" in table.loc["missing facts", "example"]


def test_audit_finds_every_planted_fault(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)

    def write(name, samples, rate=8000, **options):
        soundfile.write(tmp_path / name, samples, rate, **options)

    def voice(seconds=0.5):
        noise = 0.3 * rng.standard_normal(int(seconds * 8000)).clip(-3, 3)
        return noise - noise.mean() if len(noise) else noise

    for digit in range(10):
        write(f"{digit}_anna_0.wav", voice())
        write(f"{digit}_ben_0.wav", voice())
    faults = ("unreadable", "truncated", "empty", "NaN or infinite samples", "silent", "clipped", "not mono")
    faults += ("another sample rate", "shorter than 0.15 s", "longer than 1 s")
    faults = {fault: f"{digit}_anna_0.wav" for digit, fault in enumerate(faults)}
    faults |= {"missing takes": "speaker ben, digit 5: 0 of 1", "off zero": "2_ben_0.wav (0.0"}
    faults |= {"channels that cancel": "7_ben_0.wav"}
    faults |= dict.fromkeys(("identical files", "identical files, other digit or speaker"), "0_ben_0.wav")
    clean = corpora.audit(corpora.load(str(tmp_path)), progress=False)
    assert clean["clips"].tolist() == [0] * len(clean) and set(clean["check"]) == {*faults, "missing facts"}
    (tmp_path / "0_anna_0.wav").write_text("zero")
    path = tmp_path / "1_anna_0.wav"
    path.write_bytes(path.read_bytes()[:-100])
    write("2_anna_0.wav", voice(0))
    write("3_anna_0.wav", np.where(np.arange(4000) == 7, np.nan, voice()), subtype="FLOAT")
    write("4_anna_0.wav", voice() / 2000)
    write("5_anna_0.wav", (10 * np.sin(np.arange(4000) / 10)).clip(-1, 1))
    write("6_anna_0.wav", np.stack([voice(), voice()], axis=1))
    write("7_anna_0.wav", voice(), rate=11025)
    write("8_anna_0.wav", voice(0.1))
    write("9_anna_0.wav", voice(1.2))
    shutil.copy(tmp_path / "0_ben_0.wav", tmp_path / "1_ben_0.wav")
    (tmp_path / "5_ben_0.wav").unlink()
    write("2_ben_0.wav", voice() + 0.05)
    write("7_ben_0.wav", np.outer(voice(), [1, -1]))
    write("9_ben_1.wav", voice())  # of one word one take more: that is not what all others lack
    corpus = corpora.load(str(tmp_path))
    table = corpora.audit(corpus, progress=False).set_index("check")
    for check, example in faults.items():
        count = 2 if "identical" in check or check == "not mono" else 1
        assert table.loc[check, "clips"] == count, check
        assert example in table.loc[check, "example"] and table.loc[check, "advice"], check
    assert table.loc["missing facts", "clips"] == 0
    # A file that goes between reading and looking is counted like a broken one.
    (tmp_path / "0_anna_0.wav").unlink()
    gone = corpora.audit(corpus, progress=False).set_index("check").loc["unreadable", "example"]
    assert gone.endswith("No such file or directory)")
    # Several processes see what one sees.
    alone = corpora.audit(corpus, progress=False)
    monkeypatch.setattr(sys.modules["spokendigits.corpora.audit"], "POOL_FROM", 1)
    assert corpora.audit(corpus, progress=False).equals(alone)


def test_odd_but_good_audio_is_not_called_broken(tmp_path):
    tone(tmp_path / "0_a_0.wav", subtype="PCM_U8")
    tone(tmp_path / "1_a_0.wav", subtype="PCM_24")
    tone(tmp_path / "2_a_0.flac")
    assert corpora.verify(str(tmp_path), tmp_path) == []
    (tmp_path / "3_a_0.wav").write_text("three")
    (problem,) = corpora.verify(str(tmp_path), tmp_path)
    assert problem.startswith("3_a_0.wav: unreadable")
    table = corpora.audit(corpora.read("folder", tmp_path), progress=False).set_index("check")
    assert table.loc["missing takes", ["clips", "example"]].tolist() == [6, "speaker a, digit 4: 0 of 1"]

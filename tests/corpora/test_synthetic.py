"""The synthetic corpus: the same bytes every time, plausible, of different voices, and whole or not at all."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import librosa
import numpy as np
import pytest
import soundfile
import soxr
from scipy.optimize import linear_sum_assignment
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import GroupKFold, cross_val_predict
from speaking import digests

from spokendigits import files
from spokendigits.corpora import espeak, synthetic
from spokendigits.errors import CourseError
from spokendigits.files import read_json

FEW = tuple(synthetic.SPEAKERS[number] for number in (0, 4, 17))
RATE = espeak.SAMPLE_RATE


@pytest.fixture
def few(monkeypatch):
    """Three speakers instead of sixty."""
    monkeypatch.setattr(synthetic, "SPEAKERS", FEW)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Three speakers, three takes, by one process after another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "SPEAKERS", FEW)
        return make(tmp_path_factory.mktemp("few") / "synthetic", takes=3, processes=1)


@pytest.fixture
def corpus(few, spoken, tmp_path):
    """A copy of `spoken`, to be changed."""
    return shutil.copytree(spoken, tmp_path / "s")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """All sixty speakers, two takes."""
    return synthetic.read(make(tmp_path_factory.mktemp("whole") / "synthetic", takes=2))


def make(root, **options):
    return synthetic.fetch(root, progress=False, **options)


# The same bytes.


def test_same_bytes_whatever_the_number_of_processes_and_of_takes(few, spoken, tmp_path):
    again = make(tmp_path / "again", takes=1, processes=3)
    assert len(digests(again)) == 3 * 10 and len(digests(spoken)) == 3 * 10 * 3
    assert digests(again).items() < digests(spoken).items()


def test_same_bytes_from_a_program_without_a_file_that_has_spoken_before(spoken, tmp_path):
    program = """if True:
        import sys
        from pathlib import Path
        from spokendigits.corpora import espeak, synthetic
        one = synthetic.SPEAKERS[30]
        root = Path(sys.argv[1])
        espeak.speak(one.job(root / "noise", synthetic.utterances(one, 1, 9)))
        synthetic.SPEAKERS = tuple(synthetic.SPEAKERS[number] for number in (17, 0, 4))
        synthetic.fetch(root / "there", takes=1, processes=2, progress=False)
    """
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, cwd=tmp_path)
    there = digests(tmp_path / "there")
    assert len(there) == 30 and there.items() < digests(spoken).items()


def test_another_seed_and_another_take_sound_different(few, spoken, tmp_path):
    first, second = digests(spoken), digests(make(tmp_path / "b", takes=1, seed=1))
    assert not set(first.values()) & set(second.values())
    assert len(set(first.values())) == len(first)
    # espeak-ng's own wobble is not enough: the takes are asked for differently.
    manners = [(one.rate, one.pitch, one.range, one.peak) for one in synthetic.utterances(FEW[0], 50, 0)]
    assert len(set(manners)) == len(manners)


def test_importing_it_and_its_workers_is_cheap():
    program = (
        "import sys; import spokendigits.corpora.synthetic; print({'torch', 'requests', 'pooch'} & {*sys.modules});"
        "[sys.modules.pop(name) for name in list(sys.modules) if name.startswith(('pandas', 'spokendigits'))];"
        "import runpy; runpy.run_path(sys.argv[1]); print('pandas' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program, espeak.__file__], check=True, capture_output=True, text=True)
    assert said.stdout.split() == ["set()", "False"]


# Plausible speech.


def check_clips(corpus, speakers: int, takes: int) -> None:
    table = corpus.table
    assert corpus.synthetic and "synthetic speech" in corpus.label
    assert len(table) == speakers * 10 * takes and len(corpus.speakers) == speakers
    assert (table.groupby(["speaker", "digit"])["take"].nunique() == takes).all()
    name = table["digit"].astype(str) + "_" + table["speaker"] + "_" + table["take"].astype(str) + ".wav"
    assert (table["path"] == table["speaker"] + "/" + name).all()
    assert not table[["gender", "accent", "voice"]].isna().any(axis=None)
    assert set(table["accent"]) <= set(synthetic.ACCENTS.values())
    for row in range(len(corpus)):
        file = corpus.file(row)
        facts = soundfile.info(file)
        assert (facts.samplerate, facts.channels, facts.subtype) == (RATE, 1, "PCM_16"), file
        clip, _ = soundfile.read(file, dtype="float32")
        assert 0.3 <= len(clip) / RATE <= 1.0, file
        assert 0.2 < np.abs(clip).max() < 0.9, file
        assert np.sqrt((clip**2).mean()) > 0.02, file
        # A floor of noise from end to end: no stretch of pure zeros that would give a synthetic clip away.
        assert 1e-4 < clip[: RATE // 50].std() < 0.01 and 1e-4 < clip[-RATE // 50 :].std() < 0.01, file


def test_the_table_and_every_clip_are_plausible(spoken):
    check_clips(synthetic.read(spoken), speakers=3, takes=3)


def test_sixty_speakers_of_both_sexes_and_all_accents_none_twice():
    assert [voice.name for voice in synthetic.SPEAKERS] == [f"s{number:02d}" for number in range(1, 61)]
    assert sum(voice.gender == "female" for voice in synthetic.SPEAKERS) == 24
    assert {voice.accent for voice in synthetic.SPEAKERS} == set(synthetic.ACCENTS)
    assert len({(voice.accent, voice.variant) for voice in synthetic.SPEAKERS}) == 60
    assert {voice.variant for voice in synthetic.SPEAKERS} <= {*espeak.variants(), "Tweaky"}


# The sixty voices as a whole speak for a minute, and no change but one of `speakers.csv` or of espeak-ng changes them.
nightly = pytest.mark.nightly


@nightly
def test_all_clips_of_all_voices_are_plausible(whole):
    check_clips(whole, speakers=60, takes=2)


@nightly
def test_takes_differ_but_not_by_much(whole):
    table = whole.table.assign(seconds=[soundfile.info(whole.file(row)).duration for row in range(len(whole))])
    first, second = (table.loc[table["take"] == take, "seconds"].to_numpy() for take in (0, 1))
    ratio = first / second
    assert (first != second).mean() > 0.95
    assert ratio.min() > 0.5 and ratio.max() < 2


def voice(clips):
    """The sound of a voice: mean spectrum in 26 mel bands without its level, and median pitch in semitones."""
    wave = np.concatenate(clips)
    frames = np.lib.stride_tricks.sliding_window_view(wave, 1024)[::512]
    level = (frames**2).mean(axis=1)
    power = np.abs(np.fft.rfft(frames[level > 0.03 * level.max()] * np.hanning(1024), 2048)) ** 2
    bands = np.log(power[:, ::2] @ librosa.filters.mel(sr=RATE, n_fft=1024, n_mels=26).T + 1e-8).mean(axis=0)
    shortest, longest = RATE // 400, RATE // 65
    period = shortest + np.median(np.fft.irfft(power)[:, shortest:longest].argmax(axis=1))
    return np.r_[bands - bands.mean(), 12 * np.log2(RATE / period)]


@nightly
def test_at_least_twenty_voices_are_clearly_different(whole):
    """Clearly: twice as far apart as any two takes of one speaker, each coordinate in units of its take-to-take spread."""
    takes = np.stack(
        [
            [
                voice([soundfile.read(whole.root / path)[0] for path in rows["path"]])
                for _, rows in of_one.groupby("take")
            ]
            for _, of_one in whole.table.groupby("speaker")
        ]
    )  # [60, 2, 27]
    scaled = takes / np.sqrt(takes.var(axis=1, ddof=1).mean(axis=0))
    within = np.linalg.norm(scaled[:, 0] - scaled[:, 1], axis=1).max()
    centre = scaled.mean(axis=1)
    between = np.linalg.norm(centre[:, None] - centre[None], axis=2)
    different = []
    for speaker in range(60):
        if all(between[speaker, other] > 2 * within for other in different):
            different.append(speaker)
    assert len(different) >= 20
    # Nobody is a copy of anybody: the closest two of all sixty are about as far apart as the two worst takes.
    assert (between + np.eye(60) * 1e9).min() > 0.8 * within


def picture(wave, rate):
    """A word as 16 frames x 20 mel bands below 4 kHz, without its mean spectrum."""
    wave = espeak.trim(soxr.resample(wave, rate, 8000) / np.abs(wave).max())
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, 128), 256)[::80] * np.hanning(256)
    bands = np.log(np.abs(np.fft.rfft(frames)) ** 2 @ librosa.filters.mel(sr=8000, n_fft=256, n_mels=20).T + 1e-4)
    return (bands - bands.mean(axis=0))[np.linspace(0, len(bands) - 1, 16).round().astype(int)].ravel()


@pytest.fixture(scope="module")
def pictures(whole):
    first = whole.part(takes=1)
    return np.stack([picture(*soundfile.read(first.file(row))) for row in range(len(first))]), first.table


def classifier():
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.6)


@nightly
def test_words_are_understood_from_voice_to_voice(pictures):
    """A simple classifier knows the words of voices it has not heard, so none of the sixty mumbles."""
    heard, table = pictures
    guessed = cross_val_predict(classifier(), heard, table["digit"], groups=table["speaker"], cv=GroupKFold(5))
    right = (guessed == table["digit"]).groupby(table["speaker"]).mean()
    assert right.mean() > 0.9
    assert right.min() >= 0.5, right.idxmin()


@nightly
def test_the_file_name_says_what_people_would_hear(pictures, fsdd_root):
    """A simple classifier that has heard only people matches every synthetic digit with the same word of theirs."""
    heard, table = pictures
    people = sorted((fsdd_root / "recordings").glob("*_[0-9].wav"))
    assert len(people) == 600
    model = classifier().fit(
        [picture(*soundfile.read(file)) for file in people], [int(file.name[0]) for file in people]
    )
    counts = confusion_matrix(table["digit"], model.predict(heard))
    assert linear_sum_assignment(-counts)[1].tolist() == list(range(10))
    assert np.trace(counts) / counts.sum() > 0.5


# Whole or not at all.


def test_a_whole_corpus_is_kept_and_more_takes_are_made(corpus, monkeypatch):
    before = digests(corpus)
    with monkeypatch.context() as patch:
        patch.setattr(espeak, "speak_all", lambda *_: pytest.fail("spoke again"))
        assert make(corpus, takes=3) == corpus
        make(corpus, takes=1)
    make(corpus, takes=4)
    assert read_json(corpus / "corpus.json")["takes"] == 4
    assert before.items() < digests(corpus).items()


@pytest.mark.parametrize("change", ["clip", "speakers.csv", "seed", "recipe", "record"])
def test_what_is_not_whole_or_not_the_same_is_made_again(corpus, monkeypatch, change):
    options = {"seed": 1} if change == "seed" else {}
    before = read_json(corpus / "corpus.json")
    refusal = ""
    if change == "clip":
        (corpus / "s05" / "7_s05_0.wav").unlink()
        refusal = r"1 of 91 files are missing, s05/7_s05_0\.wav first"
    elif change == "speakers.csv":
        (corpus / "speakers.csv").unlink()
        refusal = r"speakers\.csv first"
    elif change == "record":
        (corpus / "corpus.json").write_text('{"takes": ')
        refusal = "no synthetic corpus here"
    elif change == "recipe":
        monkeypatch.setattr(synthetic, "RECIPE", synthetic.RECIPE + 1)
    if refusal:
        with pytest.raises(CourseError, match=refusal):
            synthetic.read(corpus)
    make(corpus, takes=3, **options)
    assert len(synthetic.read(corpus)) == 90
    record = read_json(corpus / "corpus.json")
    assert (record["sha256"] == before["sha256"]) == (change != "seed") and record["recipe"] == synthetic.RECIPE


def test_interrupted_remaking_leaves_the_old_corpus(corpus, tmp_path, monkeypatch):
    before = digests(corpus)
    speak_all = espeak.speak_all

    def interrupted(jobs, processes):
        yield from speak_all(jobs[:1], processes)
        raise KeyboardInterrupt

    monkeypatch.setattr(espeak, "speak_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(corpus, takes=4)
    assert digests(corpus) == before and len(synthetic.read(corpus)) == 90
    assert os.listdir(tmp_path) == ["s"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a killed parent's children finish their voice")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.slow
def test_who_is_stopped_or_killed_leaves_no_processes(tmp_path, end):
    program = (
        # Whoever starts the tests in the background may have told all below to ignore Ctrl-C.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "import sys; from pathlib import Path; from spokendigits.corpora import synthetic;"
        "synthetic.fetch(Path(sys.argv[1]), takes=50, processes=2, progress=False)"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "s")], stderr=subprocess.DEVNULL)
    try:
        waited = time.monotonic() + 60
        while not list(tmp_path.rglob("*.wav")):
            assert child.poll() is None and time.monotonic() < waited
            time.sleep(0.02)
        # Only to the one that was asked, as a notebook's stop button does: it must end the others itself.
        child.send_signal(end)
        assert child.wait(20) != 0
    finally:
        child.kill()
        child.wait()
    if end == signal.SIGINT:
        assert os.listdir(tmp_path) == []
    time.sleep(0.1)
    there = sorted(tmp_path.rglob("*.wav"))
    time.sleep(0.3)  # a speaker that went on would write its next clip by now
    assert sorted(tmp_path.rglob("*.wav")) == there


# Nothing silent, nothing lost.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "nobody"}, "speaker s05: espeak-ng has no voice variant 'nobody'"),
        ({"accent": "en-gb"}, "speaker s05: espeak-ng has no voice 'en-gb'"),
        ({"rate": 4000}, "speaker s05 .*0_s05_0.wav: 'zero.?' came out silent or broken"),
    ],
)
def test_a_broken_voice_is_caught(monkeypatch, tmp_path, change, message):
    monkeypatch.setattr(synthetic, "SPEAKERS", (FEW[0], FEW[1]._replace(**change)))
    with pytest.raises(CourseError, match=message):
        make(tmp_path / "s", takes=1)
    assert os.listdir(tmp_path) == []


def test_a_silent_word_is_caught(few, monkeypatch, tmp_path):
    monkeypatch.setattr(synthetic, "WORDS", (*synthetic.WORDS[:4], " ", *synthetic.WORDS[5:]))
    monkeypatch.setattr(synthetic, "ENDINGS", ("",))
    with pytest.raises(CourseError, match=r"4_s\d\d_0\.wav: ' ' came out silent or broken \(0\.00 s, peak 0\.000\)"):
        make(tmp_path / "s", takes=1)


@pytest.mark.parametrize(
    "samples",
    [np.zeros(0), np.zeros(RATE), np.r_[np.zeros(9000), 1.0, np.zeros(9000)], 0.01 * np.sin(np.arange(RATE))],
    ids=["nothing", "silence", "a click", "too soft"],
)
def test_finish_refuses_what_is_no_word(samples):
    with pytest.raises(CourseError, match="silent or broken"):
        espeak.finish(samples.astype(np.float32), synthetic.utterances(FEW[0], 1, 0)[0])


def test_a_voice_process_that_dies_is_named(few, monkeypatch, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("import os; os.abort()")
    monkeypatch.setattr(espeak, "__file__", str(broken))
    with pytest.raises(CourseError, match="speaker s01: the process that speaks ended with status"):
        make(tmp_path / "s", takes=1, processes=1)


def test_full_disk_gets_one_line(few, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "write_json", full)
        with pytest.raises(CourseError, match=r"the disk is full. Make room"):
            make(tmp_path / "s", takes=1)
        patch.setattr(files.shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000_000))
        with pytest.raises(CourseError, match=r"16 MB are needed and 10 MB are free. Make room"):
            make(tmp_path / "s", takes=1)
    assert os.listdir(tmp_path) == []
    # And where the speaking process is the one that cannot write.
    (tmp_path / "file").touch()
    job = espeak.Job("s01", "en", "m1", str(tmp_path / "file"), synthetic.utterances(FEW[0], 1, 0))
    with pytest.raises(CourseError, match=r"File exists|Not a directory"):
        list(espeak.speak_all([job], 1))


def test_what_cannot_be_made_is_refused(tmp_path):
    for takes in (0, 51):
        with pytest.raises(CourseError, match=f"takes={takes}: .* 1 to 50 takes"):
            make(tmp_path / "s", takes=takes)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(CourseError, match="holds something else"):
        make(tmp_path, takes=1)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    with pytest.raises(CourseError, match="no synthetic corpus here"):
        synthetic.read(tmp_path)

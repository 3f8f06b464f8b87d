"""The sound lab of chapter 2 in a real browser: it computes as the package and librosa do, and its pictures, cursor and sound follow."""

import functools
import re
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
from browsing import NARROW, PROGRAM, QUIET, REDRAW, WIDE, drag, press, status
from scipy.signal import find_peaks, firwin

from spokendigits.clips import fit
from spokendigits.frontend import LogMel
from spokendigits.recipe import Recipe
from spokendigits.topics import sound

pytestmark = pytest.mark.slow

STATIC = Path(__file__).resolve().parents[2] / "book" / "_static"
CLIPS = {"seven": "seven-s01.flac", "five": "five-s12.flac", "nine": "nine-s12.flac"}
RATE = 22_050
PICTURE = 0.01  # decibels: how far a log-mel picture may be from Python's
CURVE = 0.2  # decibels: the same of the curve of the mouth, for which the two also resample
SETTINGS = [
    {},
    {"window": 256, "hop": 64, "n_mels": 128},
    {"window": 4096, "hop": 1024, "n_mels": 8, "f_max": 2000.0},
    {"window": 1024, "hop": 128, "n_mels": 128, "f_max": 16_000.0},
    {"window": 512, "hop": 256, "n_mels": 40, "f_max": 16_000.0, "mel_scale": "htk"},
]
VOWELS = ("see", "bed", "far", "saw", "too")
PLACE = r"([\d.]+) s, ([\d,]+) Hz"  # what the status begins with
SLIDERS = {name: number for number, name in enumerate(("pitch", "window", "hop", "mels", "highest", "low pass"))}


@pytest.fixture
def lab(moved):
    """Opens chapter 2 and waits until the lab is there: `lab(NARROW, "dark")`."""
    return functools.partial(moved, "lab")


@pytest.fixture(scope="module")
def clips() -> dict[str, np.ndarray]:
    """The clips as the lab hears them: float32 [22050], around zero (as `spoken.decode` makes them)."""
    found = {}
    for name, file in CLIPS.items():
        audio, _ = soundfile.read(STATIC / file, dtype="float32")
        middle = min(np.median(audio), audio.mean(), key=abs)
        found[name] = fit(audio - middle, RATE)
    return found


def recipe(**settings) -> Recipe:
    """The fast recipe's picture with other settings."""
    return Recipe.preset("fast").but(**{"f_max": RATE / 2, "window": 2048, "hop": 512, "n_mels": 64, **settings})


def picture(audio: np.ndarray, **settings) -> np.ndarray:
    """What the package makes of a clip: decibels [mel bins, frames]."""
    return LogMel(recipe(**settings))(torch.from_numpy(audio)[None])[0, 0].numpy()


def around(audio: np.ndarray, seconds: float, samples: int) -> np.ndarray:
    """The samples around a moment, zeros where there are none."""
    start = round(seconds * RATE) + samples // 2
    return np.pad(audio, samples)[start : start + samples]


def compute(page, audio: np.ndarray, work: str, given=None):
    """What `work`, JavaScript of frontend `F`, samples `audio` and `given`, finds."""
    script = (
        f"([samples, given]) => {{ const F = spoken.frontend, audio = Float32Array.from(samples); return {work}; }}"
    )
    return page.evaluate(script, [audio.tolist(), given])


def choose(page, text: str) -> None:
    page.locator(".lab-stage .moving-choice label", has_text=re.compile(f"^{text}$")).locator("input").check()


def pixels(page, name: str) -> np.ndarray:
    """The colours of a picture, the lowest row first: [height, width, 3]."""
    found = page.evaluate(
        """(name) => {
            const canvas = document.querySelector(`.lab-${name} canvas`);
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return [canvas.height, canvas.width, [...data]];
        }""",
        name,
    )
    return np.array(found[2], np.uint8).reshape(found[0], found[1], 4)[::-1, :, :3]


def brightness(rows: np.ndarray) -> np.ndarray:
    """Decibels as the course's colours show them, 80 decibels from the brightest to the darkest: [rows, columns, 3]."""
    from matplotlib import colormaps

    return np.round(255 * colormaps["magma"](np.clip((rows - rows.max()) / 80 + 1, 0, 1))[..., :3])


# ---- It computes as Python does ----


@pytest.mark.filterwarnings("ignore:Empty filters detected")
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_log_mel_pictures_equal_those_of_the_package_and_of_librosa(lab, clips, settings):
    page, one = lab(), recipe(**settings)
    given = {"rate": RATE, "window": one.window, "hop": one.hop, "mels": one.n_mels, "lowest": one.f_min,
             "highest": one.f_max, "scale": one.mel_scale, "range": one.top_db}  # fmt: skip
    work = "F.logMel(F.power(audio, given), F.melFilters(given), given.range).map((row) => [...row])"
    for name, audio in clips.items():
        found = np.array(compute(page, audio, work, given))
        ours = picture(audio, **settings)
        assert found.shape == ours.shape
        assert np.abs(found - ours).max() < PICTURE, name
        norm, htk = ("slaney", False) if one.mel_scale == "slaney" else (None, True)
        mel = librosa.feature.melspectrogram(
            y=audio, sr=RATE, n_fft=one.window, hop_length=one.hop, n_mels=one.n_mels, fmin=one.f_min, fmax=one.f_max,
            norm=norm, htk=htk, pad_mode="constant",
        )  # fmt: skip
        assert np.abs(found - librosa.power_to_db(mel)).max() < PICTURE, name
    empty = compute(page, audio, "F.melFilters(given).filter((one) => !one.weights.length).length", given)
    assert empty == int((LogMel(one).filters.max(dim=0).values == 0).sum())


def test_formants_and_pitch_equal_those_of_the_chapter(lab, clips):
    page, named = lab(), 0
    for name, audio in clips.items():
        for seconds in np.arange(0.16, 0.5, 0.04):
            long, short = around(audio, seconds, 2048), around(audio, seconds, 1024)
            curve = compute(page, audio, "F.envelope(F.around(audio, 22050, given, 2048), 22050)", seconds)
            tones, ours = sound.envelope(long, RATE)
            assert np.abs(np.array([one["decibels"] for one in curve]) - ours).max() < CURVE, (name, seconds)
            hills = compute(page, audio, "F.hills(F.envelope(F.around(audio, 22050, given, 2048), 22050))", seconds)
            assert hills[:2] == pytest.approx(tones[find_peaks(ours)[0]][:2], abs=9), (name, seconds)  # one step
            found = compute(page, audio, "F.pitch(F.around(audio, 22050, given, 1024), 22050)", seconds)
            ours = librosa.yin(short, fmin=60, fmax=500, sr=RATE, frame_length=1024, center=False)[0]
            if found["unlike"] < 0.5:  # of what has no pitch, any lag is as good as another
                named += 1
                assert found["hertz"] == pytest.approx(ours, rel=1e-3), (name, seconds)
    assert named > 15


def test_the_low_pass_is_scipys_and_a_vowel_has_the_pitch_and_the_formants_that_were_asked_for(lab, clips):
    page = lab()
    for cut in (250, 1000, 8000):
        found = compute(page, clips["five"], "[...F.lowPass(audio, 22050, given)]", cut)
        ours = np.convolve(clips["five"], firwin(401, cut, window="blackman", fs=RATE), mode="same")
        assert np.abs(np.array(found) - ours).max() < 1e-6, cut
    for name in VOWELS:
        for hertz in (90, 130):
            audio = np.array(compute(page, np.zeros(1), "[...F.vowel(given[0], given[1], 22050, 1)]", [name, hertz]))
            assert audio.shape == (RATE,) and np.abs(audio).max() == pytest.approx(0.5)
            middle = around(audio, 0.5, 2048)
            pitch = librosa.yin(middle, fmin=60, fmax=500, sr=RATE, frame_length=2048, center=False)[0]
            assert pitch == pytest.approx(hertz, rel=0.01)
            tones, curve = sound.envelope(middle, RATE)
            asked = page.evaluate("(name) => spoken.frontend.VOWELS[name]", name)
            assert tones[find_peaks(curve)[0]][:3] == pytest.approx(asked, abs=60), (name, hertz)


# ---- What a reader sees and hears ----


def test_the_pictures_are_those_of_the_sound_and_its_settings(lab, clips):
    page = lab()
    choose(page, "five")
    for window, hop, mels, highest in ((11, 9, 64, 11_025), (8, 7, 40, 4000), (12, 10, 128, 16_000)):
        for name, value in (("window", window), ("hop", hop), ("mels", mels), ("highest", highest)):
            drag(page, "lab", SLIDERS[name], value)
        ours = picture(clips["five"], window=2**window, hop=2**hop, n_mels=mels, f_max=float(highest))
        shown = pixels(page, "picture")
        assert shown.shape[:2] == ours.shape
        assert np.abs(shown - brightness(ours)).mean() < 6, "other colours than the decibels of the package"
        power = np.abs(librosa.stft(clips["five"], n_fft=2**window, hop_length=2**hop, pad_mode="constant")) ** 2
        tones = pixels(page, "tones").mean(axis=2)
        row, frame = np.unravel_index(tones.argmax(), tones.shape)
        loudest, at = np.unravel_index(power.argmax(), power.shape)
        assert frame == at
        assert (row + 0.5) / len(tones) * highest == pytest.approx(loudest * RATE / 2**window, abs=highest / 90)
        # Each frame is centred on its hop, so the cursor stands on the one that it names.
        across = page.evaluate(
            """() => {
                const { left, width } = document.querySelector(".lab-tones canvas").getBoundingClientRect();
                return (document.querySelector(".lab-tones .lab-up").getBoundingClientRect().x - left) / width;
            }"""
        )
        seconds = float(status(page, "lab").split()[0])
        assert across * tones.shape[1] == pytest.approx(seconds * RATE / 2**hop + 0.5, abs=0.01 * RATE / 2**hop)
        # Above the Nyquist frequency there is nothing, in either picture.
        assert (tones[-1].max() < 5) == (highest > RATE / 2)
        empty = int((ours.max(axis=1) == ours.min()).sum())
        assert (f"{empty} of {mels} mel bins are empty" in status(page, "lab")) == (empty > 0)


def test_the_cursor_names_what_python_finds_there(lab, clips):
    page = lab()
    for name, audio in clips.items():
        choose(page, name)
        page.wait_for_timeout(200)
        seconds, hertz = re.match(PLACE, status(page, "lab")).groups()
        pitch, one, two = (
            float(value.replace(",", ""))
            for value in re.search(
                r"Pitch ([\d,]+) Hz, formants ([\d,]+) Hz and ([\d,]+) Hz", status(page, "lab")
            ).groups()
        )
        energy = np.convolve(audio**2, np.ones(512), mode="same")
        near = around(energy, float(seconds), 442)  # it names hundredths of a second
        assert near.max() > 0.95 * energy.max(), "the cursor begins at the loudest moment"
        assert float(hertz.replace(",", "")) == pytest.approx(one, abs=1), "and at its first formant"
        tones, curve = sound.envelope(around(audio, float(seconds), 2048), RATE)
        assert (one, two) == pytest.approx(tuple(tones[find_peaks(curve)[0]][:2]), abs=30)
        ours = librosa.yin(audio, fmin=60, fmax=500, sr=RATE, frame_length=1024, hop_length=64)
        assert pitch == pytest.approx(ours[round(float(seconds) * RATE / 64)], abs=3)
        mel, row = re.search(r"mel ([\d.]+), bin (\d+) of 64", status(page, "lab")).groups()
        assert float(mel) == pytest.approx(librosa.hz_to_mel(float(hertz.replace(",", ""))), abs=0.1)
        # The bin is one that takes in this tone.
        weights = LogMel(recipe()).filters[:, int(row) - 1].numpy()
        assert weights[round(float(hertz.replace(",", "")) / RATE * 2048)] > 0


def test_the_cursor_follows_mouse_finger_and_arrow_keys(lab):
    page = lab(NARROW, has_touch=True)
    inner = page.locator(".lab-tones .lab-inner")
    inner.scroll_into_view_if_needed()
    page.wait_for_timeout(300)

    def place() -> list[float]:
        return [float(one.replace(",", "")) for one in re.match(PLACE, status(page, "lab")).groups()]

    def at(across: float, up: float) -> tuple[float, float]:
        box = inner.bounding_box()
        return box["x"] + across * box["width"], box["y"] + (1 - up) * box["height"]

    page.mouse.move(*at(0.3, 0.5))
    page.mouse.down()
    assert place() == pytest.approx([0.3, 5512], rel=0.03)
    page.mouse.move(*at(0.6, 0.25))
    page.mouse.up()
    assert place() == pytest.approx([0.6, 2756], rel=0.03)
    page.mouse.move(*at(0.1, 0.9))
    assert place() == pytest.approx([0.6, 2756], rel=0.03), "nothing is pressed"
    page.touchscreen.tap(*at(0.45, 0.5))
    assert place() == pytest.approx([0.45, 5512], rel=0.03)
    page.focus(".lab-panes")
    before = place()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowUp")
    seconds, hertz = place()
    assert seconds == pytest.approx(before[0] - 0.06, abs=0.011) and before[1] < hertz < 1.1 * before[1]
    for _ in range(60):
        page.keyboard.press("Shift+ArrowDown")
    assert place()[1] == 50, "the lowest tone of the mel picture"
    lines = page.eval_on_selector_all(
        ".lab-up", "all => all.map((one) => Math.round(one.getBoundingClientRect().left))"
    )
    assert len(set(lines)) == 1, "the cursor stands at one time in all pictures"


def test_silence_and_noise_have_no_pitch_and_a_low_pass_takes_the_formants(lab):
    page = lab()
    inner = page.locator(".lab-wave .lab-inner")
    inner.scroll_into_view_if_needed()
    width = inner.bounding_box()["width"]
    for share, said in ((0.13, "No pitch: noise."), (0.95, "No pitch: silence."), (0.4, "Pitch 9")):
        inner.click(position={"x": share * width, "y": 20})
        assert said in status(page, "lab")
    assert ", formants" in status(page, "lab")
    drag(page, "lab", SLIDERS["low pass"], 8)
    assert page.inner_text(".lab-stage output >> nth=5") == "1,000 Hz"
    assert "formants are cut off." in status(page, "lab") and "Pitch 9" in status(page, "lab")


def test_it_plays_what_it_shows(lab, clips):
    page = lab()
    page.evaluate(
        """() => {
            window.sounds = [];
            const make = URL.createObjectURL;
            URL.createObjectURL = (blob) => (blob.type === "audio/wav" && window.sounds.push(blob), make(blob));
        }"""
    )
    heard = "async () => [...new Int16Array((await window.sounds.at(-1).arrayBuffer()).slice(44))]"
    drag(page, "lab", SLIDERS["low pass"], 8)
    change = "document.querySelectorAll('.lab-stage input[type=range]')[5].dispatchEvent(new Event('change'))"
    page.evaluate(change)
    assert page.evaluate("window.sounds.length") == 0, "nothing sounds before the reader asks for it"
    press(page, "lab", "Play")
    ours = np.convolve(clips["seven"], firwin(401, 1000, window="blackman", fs=RATE), mode="same")
    assert np.abs(np.array(page.evaluate(heard)) - 32767 * ours).max() < 1.1
    drag(page, "lab", SLIDERS["low pass"], 21)
    page.evaluate(change)
    assert page.evaluate("window.sounds.length") == 2, "afterwards each change is heard at once"
    assert np.abs(np.array(page.evaluate(heard)) - 32767 * clips["seven"]).max() < 1.1


def test_the_vowel_has_controls_of_its_own_and_all_starts_again(lab):
    page = lab()
    first, shown = status(page, "lab"), pixels(page, "picture")
    assert not page.is_visible(".lab-singing")
    choose(page, "a vowel")
    assert page.is_visible(".lab-singing")
    assert "Pitch 100 Hz" in status(page, "lab")
    drag(page, "lab", SLIDERS["pitch"], 250)
    assert "Pitch 250 Hz" in status(page, "lab")
    choose(page, "see")
    one, two = re.search(r"formants ([\d,]+) Hz and ([\d,]+) Hz", status(page, "lab")).groups()
    assert int(one) < 350 and int(two.replace(",", "")) > 2000
    for name, value in (("window", 7), ("hop", 6), ("mels", 20), ("highest", 3000), ("low pass", 5)):
        drag(page, "lab", SLIDERS[name], value)
    choose(page, "HTK")
    press(page, "lab", "Start again")
    page.wait_for_timeout(300)
    assert not page.is_visible(".lab-singing")
    assert status(page, "lab") == first and np.array_equal(pixels(page, "picture"), shown)


def test_a_word_of_ones_own(lab, started, tmp_path):
    audio, _ = soundfile.read(STATIC / CLIPS["five"])
    hiss = 0.0003 * np.random.default_rng(0).standard_normal(len(audio) + 2 * RATE)
    soundfile.write(tmp_path / "word.wav", np.pad(audio, RATE) + hiss, RATE, subtype="PCM_16")
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    flags = [*QUIET, *fake, f"--use-file-for-fake-audio-capture={tmp_path / 'word.wav'}"]
    browser = started.chromium.launch(executable_path=PROGRAM, args=flags)
    page = lab(browser=browser)
    assert not page.is_visible(".lab-stage label:has-text('my word')")
    press(page, "lab", "Record my word")
    page.wait_for_selector(".lab-stage label:has-text('my word')")
    assert page.is_checked(".lab-stage label:has-text('my word') input")
    assert 120 < int(re.search(r"Pitch (\d+) Hz", status(page, "lab"))[1]) < 135
    assert pixels(page, "tones")[-20:, 5:25].mean() < pixels(page, "tones")[:20, 5:25].mean(), "a word, not hiss"
    choose(page, "seven")
    choose(page, "my word")
    assert "Pitch 1" in status(page, "lab")
    browser.close()


# ---- How it behaves ----


def test_it_is_drawn_anew_at_once(lab):
    page = lab(WIDE)
    for name, values in (
        ("window", (9, 10, 11)), ("hop", (8, 7, 9)), ("mels", (32, 128, 64)), ("highest", (4000, 16_000, 11_025)),
        ("low pass", (4, 10, 16)),
    ):  # fmt: skip
        assert min(drag(page, "lab", SLIDERS[name], value) for value in values * 4) < REDRAW, name
    drag(page, "lab", SLIDERS["window"], 12)
    assert min(drag(page, "lab", SLIDERS["hop"], 6) for _ in range(12)) < REDRAW, (
        "345 of the longest windows: the most there is"
    )
    choose(page, "a vowel")
    drag(page, "lab", SLIDERS["hop"], 9)
    assert min(drag(page, "lab", SLIDERS["pitch"], value) for value in (100, 200, 300, 110) * 4) < REDRAW


def test_the_keyboard_alone_does_it_all_and_the_tasks_unfold(lab):
    page = lab()
    tasks = page.locator(".lab-tasks details")
    assert tasks.count() == 3 and not page.is_visible(".lab-tasks p >> nth=0")
    page.focus(".lab-tasks summary")
    page.keyboard.press("Enter")
    assert page.is_visible(".lab-tasks p >> nth=0")
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.value || document.activeElement.textContent"))
        if reached[-1] == "seven":
            page.keyboard.press("ArrowRight")
            page.wait_for_timeout(300)
            assert page.is_checked(".lab-stage input[value=five]") and "Pitch 13" in status(page, "lab")
        if page.evaluate("document.activeElement.className") == "lab-panes":
            break
    assert {"Play", "Record my word", "Start again"} <= set(reached)


def test_what_the_tasks_say_is_so(lab, clips):
    """The numbers in the answers are those of the clips."""
    page = lab()
    said = " ".join(page.locator(".lab-tasks p").all_text_contents())
    ours = librosa.yin(clips["nine"], fmin=60, fmax=500, sr=RATE, frame_length=1024, hop_length=64)
    assert "hums there at 130 hertz" in said and 127 < ours[round(0.5 * RATE / 64)] < 133
    seven = np.median(librosa.yin(clips["seven"], fmin=60, fmax=500, sr=RATE)[11:18])
    assert "the harmonics lie 98 apart" in said and seven == pytest.approx(98, abs=1)
    assert f"spreads over {4 * RATE / 1024:.0f} hertz" in said and f"sees {1000 * 2048 / RATE:.0f} milliseconds" in said
    for name, names in (("bed", [530, 1840]), ("saw", [570, 840])):
        work = "F.hills(F.envelope(F.around(F.vowel(given, 400, 22050, 1), 22050, 0.5, 2048), 22050))"
        found = compute(page, np.zeros(1), work, name)[:2]
        assert np.abs(np.array(found) - names).max() > 100, "the formants of a high voice go astray"

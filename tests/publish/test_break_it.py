"""The figure "Break it" and its cut on the front page, in a real browser: they disturb as Python does, and hear as Python does."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from browsing import NARROW, PROGRAM, QUIET, REDRAW, press, served
from scipy.signal import welch

from spokendigits.clips import fit, read_audio
from spokendigits.frontend import LogMel
from spokendigits.topics import decoding
from spokendigits.topics.onnx_reader import load_onnx
from spokendigits.topics.robustness import VOICES, disturb
from studies import break_it

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CHAPTER, FRONT = "notebooks/04_evaluation", "book/index"
RATE, SAMPLES = break_it.RATE, break_it.SAMPLES
# How far a disturbed clip may be from Python's: the power of the difference against that of the clip, as an amplitude.
SAME, ROOM, PITCH = 1e-4, 2e-3, 2e-3
CHANCE = 2e-3
HIDDEN = dict(zip(break_it.HIDDEN, range(10), strict=True))


@pytest.fixture(scope="module")
def spotter():
    return load_onnx(ROOT / "book/_static/say/spotter.onnx", threads=1)


@pytest.fixture(scope="module")
def clip() -> tuple[torch.Tensor, int]:
    """A word as the figure has it, [1, samples], and its length."""
    audio = read_audio(ROOT / "book/_static/five-s12.flac", RATE)
    return torch.from_numpy(fit(audio, SAMPLES))[None], len(audio)


def python(clip, kind: str, level: float, **options) -> np.ndarray:
    return disturb(clip[0], kind, level, RATE, [0], [clip[1]], **options)[0].numpy()


def changed(page, clip, **setting) -> list[float]:
    """What the browser makes of a clip."""
    return ask(page, CHANGED, clip[0][0].tolist(), clip[1], [setting])[0]


def label(page, place: str) -> str:
    """What somebody hears who does not see a picture."""
    return page.get_attribute(f".break-stage {place}", "aria-label").replace("\u00a0", " ")


def ask(page, function: str, *values):
    """What a function of JavaScript makes of values; an array of it comes back as a list."""
    script = f"""async (text) => JSON.stringify(await ({function})(...JSON.parse(text)),
        (_, one) => ArrayBuffer.isView(one) ? [...one] : one)"""
    return json.loads(page.evaluate(script, json.dumps(values)))


def apart(theirs, ours: np.ndarray) -> float:
    return float(np.sqrt(np.square(np.array(theirs) - ours).sum() / np.square(ours).sum()))


# A clip, or one of the book as the figure has it, disturbed by all that is set.
CHANGED = """(audio, length, settings) => {
    const clip = { audio: Float32Array.from(audio), length }, disturbed = spoken.disturber();
    return Promise.all(settings.map((one) => disturbed(clip, one)));
}"""
DISTURBED = """async (name, settings) => {
    const clip = await spoken.clipOf(await spoken.read(name)), disturbed = spoken.disturber();
    return Promise.all(settings.map((one) => disturbed(clip, one)));
}"""


def move(page, figure: str, number: int, value: float, until: str) -> float:
    """Moves a slider, and returns the milliseconds until what `until` selects says something else."""
    return page.evaluate(
        """([figure, number, value, until]) => new Promise((done) => {
            const stage = document.querySelector(`.${figure}-stage`);
            const slider = stage.querySelectorAll("input[type=range]")[number], shown = stage.querySelector(until);
            new MutationObserver((_, seen) => (seen.disconnect(), done(performance.now() - began)))
                .observe(shown, { attributes: true, childList: true, characterData: true, subtree: true });
            const began = performance.now();
            slider.value = value;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
        })""",
        [figure, number, value, until],
    )


def said(page, place: str) -> str:
    return " ".join(page.inner_text(place).split())


# ---- It disturbs as Python does ----


def test_noise_is_as_strong_as_in_python(moved, clip):
    page, (audio, length) = moved("break"), clip
    noise = np.random.default_rng((0, 0)).standard_normal(SAMPLES, np.float32)  # as `disturb` draws it for number 0
    add = "(...given) => spoken.addNoise(...given.slice(0, 2).map((one) => Float32Array.from(one)), ...given.slice(2))"
    for level in (30.0, 0.0, -18.0):
        theirs = ask(page, add, audio[0].tolist(), noise.tolist(), level, length)
        assert apart(theirs, python(clip, "white", level)) < SAME
    silent = np.zeros(SAMPLES).tolist()
    assert not np.any(ask(page, add, silent, noise.tolist(), 0, length)), "no gain makes a silent voice louder"


def test_the_browsers_own_noise_is_white_and_stands_where_the_slider_says(moved, clip):
    page = moved("break")
    noise = np.array(ask(page, "() => spoken.white(160000, 1)"))
    assert abs(noise.mean()) < 0.01 and noise.std() == pytest.approx(1, abs=0.01)
    assert np.mean(noise**4) == pytest.approx(3, abs=0.1), "normally distributed"
    assert np.ptp(10 * np.log10(welch(noise, nperseg=256)[1][1:-1])) < 1.5, "as strong at all tones"
    levels, length = [20, 0, -10], clip[1]
    for level, theirs in zip(
        levels, ask(page, DISTURBED, "five-s12.flac", [{"decibels": one} for one in levels]), strict=True
    ):
        parts = np.stack([clip[0][0].numpy(), noise[:SAMPLES]])
        gains = np.linalg.lstsq(parts.T, np.array(theirs), rcond=None)[0]  # how loud each is in what is heard
        voice, rest = np.square(gains[:, None] * parts)[:, :length].sum(axis=1)
        assert 10 * np.log10(voice / rest) == pytest.approx(level, abs=0.01)


def test_babble_is_as_strong_as_in_python(moved, clip):
    assert len(break_it.BABBLE) == VOICES["babble"]
    babble = read_audio(ROOT / "book/moving/break-babble.flac", RATE)
    theirs = changed(moved("break"), clip, kind="babble", decibels=-6)
    # Python loops each voice, and one voice as long as the clip is the babble itself, turned round by a draw.
    turned = np.roll(babble, -np.random.default_rng((0, 0)).integers(len(babble)))
    assert apart(theirs, python(clip, "babble", -6.0, voices=[[turned]])) < SAME


@pytest.mark.parametrize("t60", break_it.ECHOES)
def test_an_echo_is_that_of_pythons_room(moved, clip, t60):
    theirs = changed(moved("break"), clip, t60=t60)
    assert apart(theirs, python(clip, "reverberation", t60)) < ROOM


def test_a_telephone_has_pythons_band_and_steps(moved, clip):
    page = moved("break")
    theirs = changed(page, clip, line="telephone")
    assert apart(theirs, python(clip, "telephone", 8.0)) < SAME
    noise = 0.1 * np.random.default_rng(1).standard_normal(SAMPLES).astype(np.float32)
    through = "async (noise) => spoken.telephone(Float32Array.from(noise), 16000, (await spoken.read('break.json')).telephone)"
    ours = disturb(torch.from_numpy(noise)[None], "telephone", 8.0, RATE, [0], [SAMPLES])[0].numpy()
    hertz, mine = welch(ours, RATE, nperseg=512)
    yours = welch(np.array(ask(page, through, noise.tolist())), RATE, nperseg=512)[1]
    inside = (hertz > 200) & (hertz < 3800)
    assert np.abs(10 * np.log10(yours / mine))[inside].max() < 0.2, "decibels"


@pytest.mark.parametrize("semitones", [-12, -7, -1, 4, 12])
def test_a_pitch_is_pythons_and_the_word_as_long(moved, clip, semitones):
    theirs = changed(moved("break"), clip, pitch=semitones)
    assert apart(theirs, python(clip, "pitch", float(semitones))) < PITCH
    assert not np.any(theirs[clip[1] :]), "the tempo stays"


def test_the_picture_is_pythons(moved, clip):
    theirs = ask(
        moved("break"), "async (audio) => spoken.pictureOf(Float32Array.from(audio), (await spoken.read('break.json')).picture)",
        clip[0][0].tolist(),
    )  # fmt: skip
    ours = LogMel(break_it.RECIPE)(clip[0])[0, 0].numpy()
    assert np.shape(theirs) == ours.shape and np.abs(np.array(theirs) - ours).max() < 0.01, "decibels"


def test_what_is_kept_in_the_book_is_what_python_makes(tmp_path, spotter):
    """The rooms are compared above, by what they make of a word."""
    kept, facts = ROOT / "book" / "moving", break_it.facts()
    told = json.loads((kept / "break.json").read_text())
    assert np.allclose(told["telephone"].pop("sections"), facts["telephone"].pop("sections"))
    assert told == facts
    for name, audio in break_it.speak(tmp_path).items():
        file, rate = soundfile.read(kept / f"break-{name}.flac")
        assert rate == RATE and np.abs(file - audio).max() < 1e-4, name
        if name in HIDDEN:
            chances = decoding.one_word(spotter(fit(audio, SAMPLES)[None])[0][0])
            assert chances[HIDDEN[name]] > 0.8, f"{name} is not read right even when nothing disturbs"


def test_a_clip_of_the_book_is_read_as_in_python(moved, clip):
    theirs = ask(moved("break"), "async () => (await spoken.clipOf(await spoken.read('five-s12.flac')))")
    assert theirs["length"] == clip[1] and apart(theirs["audio"], clip[0][0].numpy()) < 0.01


def test_chances_are_pythons_on_the_same_samples(moved, spotter):
    settings = [
        {},
        {"decibels": -4},
        {"kind": "babble", "decibels": 2},
        {"t60": 0.6},
        {"line": "telephone", "pitch": 5},
        {"t60": 0.4, "decibels": 5, "line": "telephone", "pitch": -3},
    ]
    page = moved("break")
    for name in ("five-s12.flac", "seven-s01.flac"):
        sounds = ask(page, DISTURBED, name, settings)
        for setting, sound in zip(settings, sounds, strict=True):
            theirs = ask(page, "(audio) => spoken.chancesOf(Float32Array.from(audio))", sound)
            ours = decoding.one_word(spotter(np.array(sound, np.float32)[None])[0][0])
            assert theirs == pytest.approx([*ours[:10], ours[10:].sum()], abs=CHANCE), setting


# ---- A reader breaks a word ----


def test_picture_and_sound_move_before_the_model_is_asked_for_and_then_it_answers_as_python(moved, spotter):
    page = moved("break")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    move(page, "break", 0, 12, "canvas")
    assert "white noise at \u22123 dB" in label(page, "canvas")
    assert "2 times the voice" in page.inner_text(".break-stage .moving-slider")
    press(page, "break", "Play")
    assert not [url for url in asked if re.search(r"spotter|runtime|ort\.", url)]
    press(page, "break", "Ask the model")
    assert [url for url in asked if "spotter" in url]
    (sound,) = ask(page, DISTURBED, "seven-s01.flac", [{"decibels": -3}])
    ours = decoding.one_word(spotter(np.array(sound, np.float32)[None])[0][0])
    page.wait_for_selector(".break-chances svg")
    assert f"7 {100 * ours[7]:.0f} %" in label(page, ".break-chances svg")
    assert said(page, ".break-stage > .moving-status") == f"The model hears seven, {100 * ours[7]:.0f} %."
    move(page, "break", 0, 17, ".moving-status")
    assert "no digit" in said(page, ".break-stage > .moving-status")
    press(page, "break", "Undisturbed")
    page.wait_for_function("() => document.querySelector('.break-stage canvas').ariaLabel.includes('undisturbed')")
    assert (
        page.evaluate("[...document.querySelectorAll('.break-stage input[type=range]')].map(one => one.value)")
        == ["0"] * 3
    )


def test_of_two_words_the_one_chosen_last_is_shown_though_it_came_first(moved, html):
    with served(html, late="file-five") as address:
        page = moved("break", folder=address)
        with page.expect_request_finished(lambda request: "file-five" in request.url):
            page.check(".break-words input[value^=five]")
            page.check(".break-words input[value^=nine]")
        page.wait_for_timeout(1000)  # it is decoded and drawn
        assert page.is_checked(".break-words input[value^=nine]") and "picture of nine" in label(page, "canvas")


def test_a_slider_redraws_at_once_and_the_model_follows(moved, record_property):
    page = moved("break")
    seconds, took = SAMPLES / RATE, {}
    for number, values in enumerate([(5, 9, 16), (1, 3, 5), (2, -4, 7)]):
        move(page, "break", number, values[0], "canvas")  # what it needs comes the first time
        took[number] = min(move(page, "break", number, value, "canvas") for value in values[1:] * 3)
        press(page, "break", "Undisturbed")
    press(page, "break", "Ask the model")
    page.wait_for_selector(".break-chances svg")
    took["with the model"] = min(move(page, "break", 0, value, ".break-chances") for value in (5, 9, 16, 8))
    print({name: f"{one / seconds:.0f} ms" for name, one in took.items()}, "for a second of sound")
    assert all(took[number] / seconds <= REDRAW for number in range(3)), took
    assert took["with the model"] / seconds < 10 * REDRAW


def test_a_hidden_word_is_heard_by_both_and_both_points_stand_side_by_side(moved, spotter):
    page = moved("break")
    page.evaluate("Math.random = () => 0.55")
    press(page, "break", "Hear a hidden word")
    question = ".break-asked .moving-status"
    assert said(page, question) == "Noise at \u221218 dB. Which digit is it?"
    for _ in range(3):
        press(page, "break", "No idea: less noise")
    press(page, "break", "4")
    assert said(page, question) == "Not that one. Noise at \u22126 dB. Which digit is it?"
    press(page, "break", "Again")
    press(page, "break", "5")
    result = ".break-test > .moving-status"
    assert said(page, result) == "It was five. You followed down to \u22126 dB."
    press(page, "break", "Now the model")
    page.wait_for_selector(".break-chart svg")
    levels = list(range(-18, 31, 3))
    sounds = ask(page, DISTURBED, "break-five.flac", [{"decibels": level} for level in levels])
    chances = [decoding.one_word(spotter(np.array(sound, np.float32)[None])[0][0]) for sound in sounds]
    point = next(
        level for level, one in zip(levels, chances, strict=True) if one.argmax() == 5 and one[5] >= decoding.SURE
    )
    shown = f"{point} dB".replace("-", "\u2212")
    assert f"You followed down to \u22126 dB, the model down to {shown}." in said(page, result)
    times = 10 ** (abs(point + 6) / 10)
    who = "You bear" if point > -6 else "The model bears"
    assert f"{who} {float(f'{times:.2g}'):g} times as much noise." in said(page, result)
    assert f"5 by the model: {shown}" in label(page, ".break-chart svg")
    # A second word: both are asked at once, and the mean of both words counts.
    press(page, "break", "Another word")
    press(page, "break", "4")
    assert "It was four. You followed down to \u221218 dB, the model down to" in said(page, result)
    assert "Over 2 words, on average: you down to \u221212 dB" in said(page, result)


def test_who_never_knows_the_word_is_told_it(moved):
    page = moved("break")
    page.evaluate("Math.random = () => 0")
    press(page, "break", "Hear a hidden word")
    for _ in range(17):
        press(page, "break", "No idea: less noise")
    assert said(page, ".break-test > .moving-status") == "It was zero. You followed at none of these strengths."


@pytest.fixture
def spoken_to(drawing, started, opened, runtime, tmp_path):
    """The figure in a browser whose microphone hears a word."""
    audio, rate = soundfile.read(ROOT / "book/_static/nine-s12.flac")
    audio = np.pad(audio, (int(1.2 * rate), int(1.5 * rate)))
    audio += 0.0003 * np.random.default_rng(0).standard_normal(len(audio))
    soundfile.write(tmp_path / "nine.wav", audio, rate, subtype="PCM_16")
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    flags = [
        *QUIET,
        *fake,
        "--autoplay-policy=no-user-gesture-required",
        f"--use-file-for-fake-audio-capture={tmp_path / 'nine.wav'}",
    ]
    browser = started.chromium.launch(executable_path=PROGRAM, args=flags)
    page = opened(CHAPTER, browser=browser)
    page.wait_for_selector(".moving[data-moving=break][data-ready]", state="attached")
    yield page
    browser.close()


def test_ones_own_voice_is_disturbed_in_the_same_way(spoken_to):
    page = spoken_to
    press(page, "break", "Ask the model")
    press(page, "break", "Say it yourself")
    page.wait_for_function("() => /nine/.test(document.querySelector('.break-stage > .moving-status').textContent)")
    assert "picture of your word" in label(page, "canvas")
    assert page.is_checked("text=your voice")
    move(page, "break", 0, 17, ".moving-status")
    assert "nine" not in said(page, ".break-stage > .moving-status")
    page.check("text=seven")
    page.wait_for_function("() => document.querySelector('.break-stage canvas').ariaLabel.includes('picture of seven')")
    page.check("text=your voice")
    page.wait_for_function("() => document.querySelector('.break-stage canvas').ariaLabel.includes('your word')")


def test_a_microphone_that_may_not_be_used_is_named(moved):
    page = moved("break")
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError'); }; }"
    )
    press(page, "break", "Say it yourself")
    assert "did not let this page listen" in said(page, ".break-stage .moving-asked")


@pytest.mark.parametrize("name", ["break", "lab", "map"])
def test_a_recording_says_what_to_do_where_it_was_begun_and_can_be_ended(moved, name):
    page = moved(name, NARROW)
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = async () => new AudioContext().createMediaStreamDestination().stream; }"
    )
    button = {"break": "Say it yourself", "lab": "Record my word", "map": "Put your own voice"}[name]
    page.click(f".{name}-stage button >> text=/^{button}/")
    asked = page.locator(f".{name}-stage .moving-asked")
    page.wait_for_function("(one) => one.textContent.startsWith('Listening')", arg=asked.element_handle())
    assert 0 < asked.bounding_box()["y"] < NARROW["height"], "seen without scrolling"
    assert page.locator(f".{name}-stage meter").is_visible()
    page.click(f".{name}-stage button >> text='Stop'")
    page.wait_for_function("(one) => /no sound in it at all/.test(one.textContent)", arg=asked.element_handle())
    assert page.locator(f".{name}-stage meter").count() == 0


# ---- The front page ----


def test_the_front_page_opens_with_a_digit_in_noise_and_leads_on_in_one_press(moved):
    page = moved("front")
    assert page.locator("main .moving").bounding_box()["y"] < 300, "seen without scrolling"
    stage = page.locator(".front-stage")
    stage.get_by_role("button", name="3").click()
    assert "3 it is not" in said(page, ".front-stage .moving-status")
    before = page.evaluate("document.querySelector('.front-stage canvas').toDataURL()")
    slider = stage.locator("input")
    slider.focus()
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    page.wait_for_function("() => document.querySelector('.front-stage canvas').ariaLabel.includes('0.5 times')")
    assert page.evaluate("document.querySelector('.front-stage canvas').toDataURL()") != before
    page.keyboard.press("Tab")
    assert "Play" in page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    stage.get_by_role("button", name="7").click()
    assert said(page, ".front-stage .moving-status").startswith("Yes, seven, with noise 0.5 times the voice.")
    stage.get_by_role("link").click()
    page.wait_for_selector(".say-speak")


def test_the_front_pages_picture_is_printed_and_is_there_without_scripts(moved, opened):
    page = moved("front")
    assert not page.is_visible(".moving img")
    page.emulate_media(media="print")
    assert page.is_visible(".moving img") and not page.is_visible(".front-stage")
    page = opened(FRONT, java_script_enabled=True)
    bare = page.context.browser.new_context(java_script_enabled=False).new_page()
    bare.goto(page.url)
    assert bare.locator(".moving img").is_visible() and "its waveform, its picture" in bare.inner_text(".moving")
    bare.context.close()


# ---- Without Font Awesome's script ----


def test_every_icon_is_still_drawn_and_from_no_other_file(opened):
    for name in ("notebooks/01_data", "book/index", "search"):
        page = opened(name)
        page.wait_for_function("() => document.fonts.status === 'loaded'")
        icons = page.evaluate("""() => [...document.querySelectorAll("[class*='fa-']")].map((one) => {
            const { content, fontFamily, fontWeight } = getComputedStyle(one, "::before");
            return [one.className, content, document.fonts.check(`${fontWeight} 16px ${fontFamily.split(", ")[0]}`, content)];
        })""")
        assert len(icons) > 5
        assert [icon for icon in icons if icon[1] in ("none", "") or not icon[2]] == []
        assert page.locator("script[src*=fontawesome], svg[data-icon]").count() == 0
        assert '"Font Awesome 6 Free"' in page.evaluate(
            "[...document.fonts].filter((one) => one.status === 'loaded').map((one) => `\"${one.family.replaceAll('\"', '')}\"`)"
        )

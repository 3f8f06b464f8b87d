"""The page "Teach it your own words" in a real browser: synthetic voices teach it German and Finnish words, and others ask for them."""

import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from browsing import NARROW, PROGRAM, QUIET, WIDE, barriers, sideways

from spokendigits.clips import read_audio
from spokendigits.corpora import espeak
from spokendigits.publish import say_a_digit
from spokendigits.topics import vad
from spokendigits.topics.onnx_reader import load_onnx

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SPOTTER = ROOT / "book/_static/say/spotter.onnx"
IDLE = "#teach[data-state=idle]"
# A language: its words, the last of which is not taught; and voices, the first of which teaches.
WORDS = {"de": ["Apfel", "Straße", "zurück", "Fenster"], "fi": ["kyllä", "ei", "seis", "puutarha"]}
VOICES = ["f3", "m3", "f1", "m7", "Andrea", "john"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> dict[tuple[str, str, str, int], Path]:
    """Recordings by language, voice, word and take."""
    folder, paths, jobs = tmp_path_factory.mktemp("words"), {}, []
    for language, words in WORDS.items():
        for number, voice in enumerate(VOICES):
            said = []
            for word in words:
                for take in range(3 if number == 0 else 2):
                    random = np.random.default_rng([number, len(said)])
                    how = {"rate": int(random.integers(130, 190)), "pitch": int(random.integers(40, 60)), "range": 50}
                    file = f"{words.index(word)}-{take}.wav"
                    said.append(
                        espeak.Utterance(file, word, len(said), **how, peak=0.6, lead=0.3, tail=0.4, noise=0.001)
                    )
                    paths[language, voice, word, take] = folder / f"{language}-{voice}" / file
            jobs.append(espeak.Job(voice, language, voice, str(folder / f"{language}-{voice}"), said))
    list(espeak.speak_all(jobs, 2))
    return paths


@pytest.fixture
def teach(opened, runtime):
    """Opens the page; whoever is asked whether to replace or remove something says yes."""

    def open_page(*place, **options):
        page = opened("book/teach_it", *place, **options)
        page.on("dialog", lambda dialog: dialog.accept())
        return page

    return open_page


def text(page, selector: str) -> str:
    page.wait_for_selector(IDLE)
    return " ".join(page.inner_text(selector).split())


def status(page) -> str:
    return text(page, ".say-status")


def note(page, row: int) -> str:
    return text(page, f".teach-word >> nth={row} >> .teach-note")


def give(page, row: int, *paths: Path) -> str:
    page.set_input_files(f".teach-word >> nth={row} >> .teach-input", paths)
    return note(page, row)


def teach_words(page, clips, language: str) -> list[str]:
    """Three words by the first voice, three recordings of each."""
    words = WORDS[language][:3]
    for row, word in enumerate(words):
        page.fill(f".teach-name >> nth={row}", word)
        assert give(page, row, *(clips[language, VOICES[0], word, take] for take in range(3))).startswith("3 examples.")
    return words


def ask(page, path: Path) -> str:
    page.set_input_files(".say-file", path)
    return status(page)


def of(page, function: str, *values):
    script = f"async (text) => JSON.stringify(await ({function})(...JSON.parse(text)))"
    return json.loads(page.evaluate(script, json.dumps(values)))


# ---- It learns ----


@pytest.mark.parametrize("language", WORDS)
def test_three_words_are_told_apart_when_five_other_voices_say_them(teach, clips, language):
    page = teach()
    words = teach_words(page, clips, language)
    assert status(page).startswith(f"It knows {words[0]}, {words[1]} and {words[2]}.")
    right = other = refused = 0
    for voice in VOICES[1:]:
        for word in words:
            for take in range(2):
                said = ask(page, clips[language, voice, word, take])
                right += said in (
                    f"I heard {word}.",
                    f"None of your words, as far as I can tell. The nearest is {word}.",
                )
                other += said.startswith("I heard ") and said != f"I heard {word}."
        refused += ask(page, clips[language, voice, WORDS[language][3], 0]).startswith("None of your words")
    assert right >= 27, "nine of ten, of 30"
    assert other <= 2
    assert refused >= 3, "a word that it was not taught"


def mean_of(model, path: Path) -> np.ndarray:
    audio = read_audio(path, 16_000)
    words = vad.find_words(audio, 16_000)
    scales = say_a_digit.scales(SPOTTER)
    embedding = model(audio[round(words[0].start * 16_000) : round(words[0].end * 16_000)][None])[1][0]
    point = (embedding.mean(axis=0) - scales["mean"]) / scales["spread"]
    return point / np.linalg.norm(point)


def test_the_page_computes_what_python_computes(teach, clips):
    """Points, leave one out, the limit, the answer; and the map shows as much of the spread as a singular value decomposition."""
    page, model = teach(), load_onnx(SPOTTER, threads=1)
    words = WORDS["de"][:3]
    points = np.array([[mean_of(model, clips["de", VOICES[0], word, take]) for take in range(3)] for word in words])
    sounds = [read_audio(clips["de", VOICES[0], words[0], take], 16_000) for take in range(2)]
    for sound, point in zip(sounds, points[0], strict=False):
        (word,) = vad.find_words(sound, 16_000)
        part = sound[round(word.start * 16_000) : round(word.end * 16_000)]
        found = of(
            page, "async (x) => teachIt.pool((await spoken.hear(Float32Array.from(x))).embedding)", part.tolist()
        )
        assert found == pytest.approx(point, abs=0.02)

    def middle(rows):
        return rows.sum(axis=0) / np.linalg.norm(rows.sum(axis=0))

    own, other = [], []
    for number in range(3):
        for left in range(3):
            rest = [np.delete(points[i], left, axis=0) if i == number else points[i] for i in range(3)]
            away = 1 - np.array([middle(rows) for rows in rest]) @ points[number, left]
            own.append(away[number])
            other.append(np.delete(away, number).min())
    given = [{"points": rows.tolist()} for rows in points]
    learned = of(page, "(words) => teachIt.learn(words)", given)
    assert [one["own"] for one in learned["tested"]] == pytest.approx(own)
    assert [one["other"] for one in learned["tested"]] == pytest.approx(other)
    assert learned["limit"] == pytest.approx(np.mean(own) + 0.6 * (np.mean(other) - np.mean(own)))
    assert learned["middles"][1] == pytest.approx(middle(points[1]))
    for point, word in ((points[2, 0], 2), (-points[2, 0], None)):
        found = of(page, "(known, point) => teachIt.answer(known, point)", learned, point.tolist())
        assert found["word"] == word and found["distances"][2] == pytest.approx(1 - middle(points[2]) @ point)
    spots = of(page, "(points) => points.map(teachIt.map(points))", points.reshape(9, -1).tolist())
    singular = np.linalg.svd(points.reshape(9, -1) - points.reshape(9, -1).mean(axis=0), compute_uv=False)
    assert np.linalg.norm(spots, axis=0) == pytest.approx(singular[:2], rel=1e-3)


def test_two_words_that_are_one_are_mixed_up_and_the_score_says_so(teach, clips):
    """A planted fault: both rows are given the same word, so leaving one out finds the other row half of the time."""
    page = teach()
    for row, word in enumerate(("Apfel", "Straße")):
        page.fill(f".teach-name >> nth={row}", f"{word}")
        give(page, row, *(clips["de", VOICES[0], word, take] for take in range(3)))
    assert "6 of 6 of your own examples" in text(page, ".teach-score")
    assert text(page, ".teach-pair") == "It mixes up no two of them. The most alike are Apfel and Straße."
    page.fill(".teach-name >> nth=2", "Äpfel")
    give(page, 2, *(clips["de", voice, "Apfel", 0] for voice in VOICES[1:4]))
    score = text(page, ".teach-score")
    right = int(re.search(r"(\d) of 9 of your own examples", score)[1])
    assert right < 9
    found = re.fullmatch(
        r"It mixes up Apfel and Äpfel: (\d) of their 6 examples were taken for the other word\.",
        text(page, ".teach-pair"),
    )
    assert int(found[1]) == 9 - right


def test_a_recording_with_pauses_gives_several_examples_and_several_answers(teach, clips, tmp_path):
    page = teach()
    for row, word in enumerate(WORDS["fi"][:2]):
        sounds = [read_audio(clips["fi", VOICES[0], word, take], 16_000) for take in range(3)]
        soundfile.write(tmp_path / f"{row}.wav", np.concatenate(sounds), 16_000)
        page.fill(f".teach-name >> nth={row}", word)
        assert give(page, row, tmp_path / f"{row}.wav").startswith("3 examples.")
    both = [read_audio(clips["fi", VOICES[0], word, 1], 16_000) for word in ("ei", "kyllä")]
    soundfile.write(tmp_path / "both.wav", np.concatenate(both), 16_000)
    assert ask(page, tmp_path / "both.wav") == "I heard ei, then kyllä."
    assert page.locator(".say-signs b").all_inner_texts() == ["ei", "kyllä"]


def test_a_microphone_teaches_and_asks(started, teach, clips, tmp_path):
    """Chromium's microphone hears a file again and again."""
    sound = read_audio(clips["fi", VOICES[0], "kyllä", 0], 16_000)
    soundfile.write(tmp_path / "said.wav", np.pad(sound, (8_000, 24_000)), 16_000, subtype="PCM_16")
    flags = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
    ]
    browser = started.chromium.launch(
        executable_path=PROGRAM, args=[*QUIET, *flags, f"--use-file-for-fake-audio-capture={tmp_path / 'said.wav'}"]
    )
    page = teach(browser=browser)
    page.fill(".teach-name >> nth=0", "kyllä")
    page.click(".teach-record >> nth=0")
    page.wait_for_selector("#teach[data-state=listening]")
    assert "Listening. Say “kyllä”" in page.inner_text(".teach-note >> nth=0")
    assert note(page, 0) == "1 example. 2 more to go."
    give(page, 0, *(clips["fi", VOICES[0], "kyllä", take] for take in (1, 2)))
    page.fill(".teach-name >> nth=1", "seis")
    give(page, 1, *(clips["fi", VOICES[0], "seis", take] for take in range(3)))
    page.evaluate("document.querySelector('.say-status').dataset.kind = ''")
    page.click(".say-speak")
    page.wait_for_selector("#teach[data-state=listening]")
    page.wait_for_selector(".say-signs b")
    assert page.get_attribute("#teach", "data-state") == "listening", "it answers while it listens"
    assert status(page) == "I heard kyllä."
    browser.close()


# ---- It keeps ----


def test_words_are_saved_and_loaded_and_a_reload_forgets_them(teach, clips, tmp_path):
    page = teach()
    words = teach_words(page, clips, "de")
    score = text(page, ".teach-score")
    with page.expect_download() as download:
        page.click(".teach-save")
    download.value.save_as(tmp_path / "my-words.json")
    assert download.value.suggested_filename == "my-words.json" and "are saved as my-words.json" in status(page)
    kept = json.loads((tmp_path / "my-words.json").read_text())
    assert [one["word"] for one in kept["words"]] == words
    page.reload()
    assert page.locator(".teach-examples li").count() == 0 and page.input_value(".teach-name >> nth=0") == ""
    stored = page.evaluate("[...Object.keys(localStorage), ...Object.keys(sessionStorage), document.cookie]")
    assert set(stored) <= {"mode", "theme", "sidebar-scroll-top", ""}, "only what the theme keeps"
    page.set_input_files(".teach-kept", tmp_path / "my-words.json")
    page.wait_for_selector(".teach-learned:not([hidden])")
    assert text(page, ".teach-score") == score and page.locator(".teach-examples li").count() == 9
    assert [page.input_value(f".teach-name >> nth={row}") for row in range(3)] == words
    assert ask(page, clips["de", VOICES[0], words[2], 0]) == f"I heard {words[2]}."
    with page.expect_download() as again:
        page.click(".teach-save")
    assert again.value.path().read_bytes() == (tmp_path / "my-words.json").read_bytes()


def test_damaged_and_foreign_files_are_refused_in_one_sentence_and_change_nothing(teach, clips, tmp_path):
    page = teach()
    teach_words(page, clips, "fi")
    noise = (np.random.default_rng(0).standard_normal(8_000) * 3_000).astype(np.int16)
    good = say_a_digit.kept({"ja": [noise] * 3, "nein": [noise] * 3})
    changed = json.loads(good)
    changed["words"][0]["examples"][1] = changed["words"][0]["examples"][1].replace("A", "B", 1)
    many = say_a_digit.kept({f"w{i}": [noise] for i in range(11)})
    short = say_a_digit.kept({"ja": [noise[:50]]})
    damaged, foreign = (
        "This file is damaged. Nothing was loaded from it.",
        "This file was not saved by this page. Choose one that was.",
    )
    cases = {
        good[: len(good) // 2]: damaged,
        json.dumps(changed): damaged,
        json.dumps(json.loads(good) | {"words": None}): damaged,
        many: damaged,
        short: damaged,
        good.replace(
            "version 1", "version 2"
        ): "This file was saved by another version of this page. Nothing was loaded from it.",
        "[]": foreign,
        "null": foreign,
        '{"format": 1}': foreign,
        "RIFF....WAVE": foreign,
        "": foreign,
    }
    for content, message in cases.items():
        (tmp_path / "kept.json").write_text(content)
        page.set_input_files(".teach-kept", tmp_path / "kept.json")
        page.wait_for_function(
            "message => document.querySelector('.say-status').textContent === message", arg=message, timeout=30_000
        )
        assert page.locator(".teach-examples li").count() == 9
        page.evaluate("document.querySelector('.say-status').textContent = ''")
    (tmp_path / "kept.json").write_text(good)
    page.set_input_files(".teach-kept", tmp_path / "kept.json")
    page.wait_for_function("() => document.querySelectorAll('.teach-examples li').length === 6")


def test_python_and_the_page_write_the_same_file(teach):
    audio = (np.random.default_rng(1).standard_normal(4_000) * 5_000).astype(np.int16)
    written = say_a_digit.kept({"Äpfel": [audio, audio[::-1]]})
    found = of(teach(), "(text) => teachIt.pack(teachIt.unpack(text))", written)
    assert found == written
    one = json.loads(written)["words"][0]
    assert json.loads(written)["crc32"] == zlib.crc32("\n".join([one["word"], *one["examples"]]).encode())


# ---- What goes wrong, and for whom ----


def test_files_that_hold_no_word_get_one_sentence_in_their_row(teach, clips, tmp_path):
    page = teach()
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    (tmp_path / "text.wav").write_text("no recording")
    soundfile.write(tmp_path / "long.wav", 0.1 * np.sin(np.arange(31 * 16_000) / 8), 16_000)
    soundfile.write(tmp_path / "hum.wav", np.pad(0.1 * np.sin(np.arange(64_000) / 8), 8_000), 16_000)
    for name, message in {
        "silence": "There is no sound in it at all",
        "text": "This file holds no recording that the browser can read",
        "long": "This recording is longer than 30 seconds",
        "hum": "That was longer than 3 seconds without a pause",
    }.items():
        assert message in give(page, 0, tmp_path / f"{name}.wav"), name
    assert page.locator(".teach-examples li").count() == 0
    said = give(page, 0, tmp_path / "text.wav", clips["de", VOICES[0], "Apfel", 0], tmp_path / "silence.wav")
    assert said.startswith("text.wav: This file holds no recording") and said.endswith(
        "1 more file could not be taken."
    )
    assert page.locator(".teach-examples li").count() == 1, "the good one is taken"
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError'); }; }"
    )
    page.click(".teach-record >> nth=0")
    assert note(page, 0).startswith("The browser did not let this page listen. Allow the microphone")
    page.click(".say-speak")
    assert status(page) == "Give at least two words 3 examples each, then try it."
    assert page.get_attribute(".say-status", "data-kind") == "problem"
    for row in (0, 1):
        page.fill(f".teach-name >> nth={row}", "Apfel")
        give(page, row, *(clips["de", VOICES[0], "Apfel", take] for take in range(3)))
    assert ask(page, clips["de", VOICES[0], "Apfel", 0]).startswith("Two rows are called Apfel.")
    give(page, 0, *[clips["de", VOICES[0], "Apfel", 1]] * 6)
    assert "Apfel has 10 examples, and that is the most" in give(page, 0, clips["de", VOICES[0], "Apfel", 1])


def test_nothing_leaves_the_page(opened, teach, html, clips):
    """`opened` refuses every request to another host; the page's own policy refuses all that could carry something away."""
    page, asked = teach(), []
    page.on("request", lambda request: asked.append((request.method, request.url)))
    teach_words(page, clips, "de")
    ask(page, clips["de", VOICES[1], "Apfel", 0])
    page.click(".teach-play >> nth=0")
    with page.expect_download():
        page.click(".teach-save")
    assert asked and {method for method, _ in asked} == {"GET"}
    assert all(url.split("?")[0].startswith((html.as_uri(), "blob:", "data:")) and "?" not in url for _, url in asked)
    refused = page.evaluate("""async () => {
        const refused = [];
        document.addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
        await fetch("data:,").catch(() => {});
        new Image().src = "http://127.0.0.1:9/voice";
        await new Promise((resolve) => setTimeout(resolve, 200));
        return refused;
    }""")
    assert sorted(refused) == ["connect-src", "img-src"]
    opened.errors.clear()


def test_the_keyboard_alone_is_enough(teach, clips):
    page = teach()
    page.on("filechooser", lambda _: None)

    def tab_to(selector: str, key: str = "Tab") -> None:
        for _ in range(80):
            page.keyboard.press(key)
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
                return
        raise AssertionError(f"Tab does not lead to {selector}")

    tab_to(".teach-name")
    page.keyboard.type("Apfel")
    tab_to(".teach-record")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Record Apfel"
    tab_to(".teach-files")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    assert chooser.value.is_multiple()
    chooser.value.set_files([clips["de", VOICES[0], "Apfel", take] for take in range(3)])
    page.wait_for_function("() => document.querySelectorAll('.teach-examples li').length === 3")
    page.wait_for_selector(IDLE)
    tab_to(".teach-delete")
    page.keyboard.press("Enter")
    assert note(page, 0) == "Example 1 of Apfel is deleted. 1 more to go."
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Delete example 1 of Apfel"
    tab_to(".teach-add")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Word 4, in any language"
    tab_to(".teach-remove")
    page.keyboard.press("Space")
    assert page.locator(".teach-word").count() == 3
    tab_to(".say-speak")
    page.keyboard.press("Enter")
    assert status(page) == "Give at least two words 3 examples each, then try it."


def test_no_barrier_and_nothing_sideways_in_any_state(teach, clips):
    """With long words, ten of them, and an answer; the three German words of a synthetic voice are there to begin with."""
    found = set()
    for scheme in ("light", "dark"):
        page = teach(WIDE, scheme)
        for state in ("empty", "answered", "full") if scheme == "light" else ("answered",):
            if state == "answered":
                page.click(".teach-sample")
                page.click(".say-sample >> text=Katze")
                assert status(page) == "I heard Katze."
                assert page.get_attribute(".teach-map svg", "aria-label").startswith(
                    "Map of 9 examples, one group for each of Katze"
                )
                page.click(".say-sample >> text=Fenster")
                assert status(page).startswith("None of your words")
            elif state == "full":
                while page.locator(".teach-word").count() < 10:
                    page.click(".teach-add")
                assert page.is_hidden(".teach-add")
                page.fill(".teach-name >> nth=0", "Donaudampfschifffahrtsgesellschaftskapit")
                page.click(".say-sample >> text=Katze")
                status(page)
            for size in (WIDE, NARROW):
                page.set_viewport_size(size)
                page.wait_for_timeout(200)
                if (state, size is WIDE) in (("answered", True), ("full", False)):
                    found |= {(scheme, state, size["width"], *barrier) for barrier in barriers(page)}
                assert sideways(page) <= 0, (scheme, state, size)
    assert found == set()
    assert page.get_attribute(".say-status", "role") == "status"


def test_a_book_without_the_model_says_so(teach, html):
    page = teach()
    page.add_init_script("Object.defineProperty(window, 'SPOKEN_BUILT', {get: () => undefined, set() {}})")
    page.reload()
    assert "was not built with the book" in page.inner_text(".say-status")
    assert page.is_disabled(".say-speak") and page.is_disabled(".teach-save")

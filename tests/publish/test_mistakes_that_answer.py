"""The figures of chapter 5 in a real browser: they say what the run found, play what they name, and place a new voice as Python does."""

import base64
import io
import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
import soundfile
from browsing import NARROW, PROGRAM, QUIET, REDRAW, WIDE, barriers, press, sideways, status
from bs4 import BeautifulSoup
from sklearn.neighbors import NearestNeighbors

from spokendigits.clips import read_audio
from spokendigits.corpora import espeak
from spokendigits.topics import vad
from spokendigits.topics.onnx_reader import load_onnx
from studies import moving

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PAGE = "notebooks/05_error_analysis"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MIC = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
HEARD = ["--autoplay-policy=no-user-gesture-required"]
# Keeps every sound that the page makes for a player, so that it can be compared.
KEEP = """() => {
    window.made = [];
    const address = URL.createObjectURL;
    URL.createObjectURL = (blob) => (made.push(blob), address.call(URL, blob));
}"""
LAST = """async () => {
    const bytes = new Uint8Array(await made.at(-1).arrayBuffer());
    return btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
}"""


@pytest.fixture(scope="module")
def told() -> dict[str, dict]:
    """What both figures read."""
    return {name: json.loads((ROOT / f"book/moving/{name}.json").read_text()) for name in ("mistakes", "map")}


@pytest.fixture(scope="module")
def voices() -> tuple[np.ndarray, int]:
    return soundfile.read(ROOT / "book/moving/voices.mp3", dtype="float32")


@pytest.fixture(scope="module")
def cells() -> list:
    return nbformat.read(ROOT / "notebooks/05_error_analysis.ipynb", as_version=4).cells


@pytest.fixture
def moved(moved):
    """Keeps the sounds that the page makes from then on."""

    def open_figure(*how, **options):
        page = moved(*how, **options)
        page.evaluate(KEEP)
        return page

    return open_figure


@pytest.fixture
def asked(started, moved):
    """Opens the map in a browser whose microphone hears a WAV file, and puts that on the map."""
    browsers = []

    def open_map(sound: Path):
        flags = [*QUIET, *MIC, *HEARD, f"--use-file-for-fake-audio-capture={sound}"]
        browsers.append(started.chromium.launch(executable_path=PROGRAM, args=flags))
        page = moved("map", browser=browsers[-1])
        press(page, "map", "Put your own voice")
        page.wait_for_selector(".map-note:not([hidden])")
        return page

    yield open_map
    for browser in browsers:
        browser.close()


def percent(share: float) -> str:
    """As the page rounds: a half goes up."""
    return f"{int(100 * share + 0.5)} %"


def outputs(cells: list, source: str, kind: str = "text/plain") -> str:
    """What the one cell that holds `source` shows."""
    (cell,) = [cell for cell in cells if cell.cell_type == "code" and source in cell.source]
    return "".join(
        one.get("text") or one.data[kind] for one in cell.outputs if one.output_type != "stream" or one.name == "stdout"
    )


def begin(page) -> None:
    press(page, "mistakes", "Hear the first word")
    page.wait_for_selector(".mistakes-keys:not([hidden])")


def played(page, voices, bounds: list[float]) -> bool:
    """Whether the sound that the page made last is this stretch of the file, as another decoder reads it."""
    sound, rate = soundfile.read(io.BytesIO(base64.b64decode(page.evaluate(LAST))))
    start, end = (round(one * rate) for one in bounds)
    clip = voices[0][start:end]
    assert rate == voices[1] and len(sound) >= len(clip)
    alike = np.correlate(sound, clip, "full")
    late = int(alike.argmax()) - len(clip) + 1
    part = sound[max(0, late) :][: len(clip)]
    return bool(alike.max() / np.linalg.norm(part) / np.linalg.norm(clip) > 0.95 and 0 <= late <= 0.05 * rate)


# ---- What they say is what the run found ----


def test_the_words_are_those_of_the_chapters_cards(told, cells):
    cards = BeautifulSoup(outputs(cells, "error_cards(model", "text/html"), "html.parser").select("details")
    words = {
        (word["said"], word["read"], tuple(f"{chance:.2f}" for chance in word["chances"])): word
        for word in told["mistakes"]["words"]
    }
    assert len(cards) == 5
    for card in cards:
        said, read = map(int, re.fullmatch(r"said (\d), read as (\d)", card.select_one("strong").get_text()).groups())
        if said == read:  # a card of a doubt
            continue
        chances = tuple(one.get_text() for one in card.select("span[style*=right]"))
        word = words[said, read, chances]
        near = [
            re.match(r"(\d), speaker (\w+), synthetic, distance ([\d.]+)", one.get_text()).groups()
            for one in card.select("figcaption")
        ]
        assert [(str(one["digit"]), one["speaker"], f"{one['distance']:.2f}") for one in word["near"]] == near


def test_the_counts_and_the_map_are_the_chapters(told, cells):
    table, mistakes = told["map"]["columns"], told["mistakes"]
    digit, read = np.array(table["digit"]), np.array(table["read"])
    clips, wrong = map(
        int, re.search(r"(\d+) clips of new voices, (\d+) misread", outputs(cells, "wrong = mistakes(table)")).groups()
    )
    assert (clips, wrong) == (len(digit), (digit != read).sum()) == (mistakes["clips"], mistakes["mistakes"])
    listed = [word for word in mistakes["words"] if word["said"] != word["read"]]
    assert len(listed) == min(wrong, moving.MOST)
    chances = {tuple(bounds): chance for bounds, chance in zip(table["bounds"], table["chance"], strict=True)}
    for word in mistakes["words"]:
        assert word["chances"][word["read"]] == max(word["chances"]) == chances[tuple(word["bounds"])]
    near = outputs(cells, '"by chance"')
    for name in ("digit", "speaker"):
        assert float(re.search(rf"{name} +([\d.]+)", near)[1]) == pytest.approx(
            told["map"]["maps"]["chapter"]["alike"][name], abs=0.005
        )
    points = np.array(told["map"]["maps"]["chapter"]["points"])
    beside = NearestNeighbors(n_neighbors=1).fit(points).kneighbors(return_distance=False)[:, 0]
    drawn = int(re.search(r"(\d+)% lie next to a clip of the same digit", outputs(cells, "explain.draw_map"))[1])
    assert 100 * (digit[beside] == digit).mean() == pytest.approx(drawn, abs=1.5), "of points in whole steps"


def test_what_is_stored_is_small_and_synthetic(told):
    assert (ROOT / "book/moving/voices.mp3").stat().st_size <= 800_000
    assert (ROOT / "book/moving/map.json").stat().st_size < 60_000
    assert all("synthetic speech" in one["corpus"] for one in told.values())


# ---- Hear, choose, reveal ----


def test_nothing_large_is_loaded_before_something_is_pressed(moved):
    asked = []
    page = moved("mistakes")
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.wait_for_selector(".moving[data-moving=mistakes][data-ready]", state="attached")
    page.wait_for_selector(".moving[data-moving=map][data-ready]", state="attached")
    assert any("file-map-json" in url for url in asked)
    assert not any(re.search(r"voices|mistakes-json|spotter|runtime", url) for url in asked)
    begin(page)
    assert any("file-voices-mp3" in url for url in asked) and any("file-mistakes-json" in url for url in asked)
    assert not any("spotter" in url for url in asked)


def test_rounds_reveal_what_was_said_and_read_and_keep_the_score_of_both(moved, told, voices):
    """Three rounds, answered rightly, wrongly and as the model did; every sound is the one that is named."""
    page, words = moved("mistakes"), told["mistakes"]["words"]
    by_bounds = {tuple(word["bounds"]): word for word in words}
    begin(page)
    seen, hard = [], []
    for number in range(3):
        rounds = []
        for place in range(5):
            assert status(page, "mistakes") == f"Word {place + 1} of 5, by a synthetic voice. Which digit is it?"
            (word,) = [one for bounds, one in by_bounds.items() if sounds_like(page, voices, bounds)]
            assert page.locator(".mistakes-shown").is_hidden(), "nothing is told before"
            you = [word["said"], (word["said"] + 1) % 10, word["read"]][number]
            page.click(f".mistakes-keys button >> nth={you}")
            said = status(page, "mistakes")
            judged = "right" if word["read"] == word["said"] else "wrong"
            sure = percent(word["chances"][word["read"]])
            assert said.startswith(f"{WORDS[word['said']].capitalize()} was said, by {word['speaker']}.")
            assert f"You: {WORDS[you]}, {'right' if you == word['said'] else 'wrong'}." in said
            assert f"The model: {WORDS[word['read']]}, {sure} sure, {judged}." in said.replace("\xa0", " ")
            label = page.get_attribute(".mistakes-stage svg[role=img]", "aria-label").replace("\xa0", " ")
            for digit, chance in enumerate(word["chances"]):
                assert f"{digit} {percent(chance)}" in label
            for near in word["near"]:
                press(page, "mistakes", f"{WORDS[near['digit']]} by {near['speaker']}, distance {near['distance']:.2f}")
                assert played(page, voices, near["bounds"])
            rounds.append((word, you))
            seen.append(tuple(word["bounds"]))
            if place < 4:
                press(page, "mistakes", "Next word")
        hard += [(word, you) for word, you in rounds if word["read"] != word["said"]]
        assert 2 <= sum(word["read"] != word["said"] for word, _ in rounds) <= 4
        model = sum(word["read"] == word["said"] for word, _ in rounds)
        mine = sum(you == word["said"] for word, you in rounds)
        assert f"Score: you {mine} of 5, the model {model} of 5." in page.inner_text(".mistakes-total")
        found = sum(you == word["said"] for word, you in hard)
        assert f"Of the {len(hard)} words so far that it misread you heard {found}." in page.inner_text(
            ".mistakes-total"
        )
        cells = page.locator(".mistakes-score tbody tr").all_inner_texts()
        assert cells[1].split()[-3:] == [str(mine), "of", "5"] and cells[2].split()[-3:] == [str(model), "of", "5"]
        press(page, "mistakes", "Another five words")
    misread = [bounds for bounds in seen if by_bounds[bounds]["read"] != by_bounds[bounds]["said"]]
    assert len(set(misread)) == min(len(misread), sum(word["read"] != word["said"] for word in words)), (
        "none twice before all"
    )
    press(page, "mistakes", "Hear it again")
    page.click(".mistakes-keys button >> nth=0")
    press(page, "mistakes", "Reset")
    assert status(page, "mistakes") == "" and page.locator(".mistakes-score").is_hidden()
    begin(page)
    assert status(page, "mistakes").startswith("Word 1 of 5")


def sounds_like(page, voices, bounds: tuple[float, float]) -> bool:
    """As `played`, but quicker to say no."""
    seconds = (page.evaluate("made.at(-1).size") - 44) / 2 / voices[1]
    return abs(seconds - (bounds[1] - bounds[0] + moving.GAP)) < 1e-3 and played(page, voices, list(bounds))


def test_the_keyboard_alone_plays_a_round(moved):
    page = moved("mistakes")
    page.focus(".mistakes-stage .moving-press:visible")
    page.keyboard.press("Enter")
    page.wait_for_selector(".mistakes-keys:not([hidden])")
    for place in range(5):
        page.keyboard.press(str(place))
        assert status(page, "mistakes").split("You: ")[1].startswith(WORDS[place])
        page.keyboard.press("9")
        assert f"You: {WORDS[place]}," in status(page, "mistakes"), "an answer is given once"
        page.keyboard.press("Enter")
    assert status(page, "mistakes").startswith("Word 1 of 5")
    page.keyboard.press("Control+1")
    assert status(page, "mistakes").startswith("Word 1 of 5"), "a shortcut of the browser is no answer"


def test_neither_figure_has_a_barrier_when_all_is_shown(moved):
    found = set()
    for size, scheme in ((WIDE, "light"), (NARROW, "dark")):
        page = moved("mistakes", size, scheme)
        begin(page)
        page.keyboard.press("1")
        press(page, "mistakes", "Next word")
        page.keyboard.press("2")
        page.wait_for_selector(".moving[data-moving=map][data-ready]", state="attached")
        page.focus(".map-canvas")
        page.keyboard.press("ArrowRight")
        found |= {(scheme, *barrier) for barrier in barriers(page, ".moving-stage")}
        assert sideways(page) <= 0, (scheme, size)
    assert found == set()


def test_a_row_of_sounds_ends_when_something_else_is_to_be_heard(moved):
    page = moved("mistakes")
    begin(page)
    page.keyboard.press("0")
    page.click(".mistakes-near button >> text='The word, then both'")
    page.focus(".map-canvas")
    page.keyboard.press("PageDown")
    before = page.evaluate("made.length")
    page.keyboard.press("Enter")
    page.wait_for_timeout(2500)  # longer than the rest of the row
    assert page.evaluate("made.length") == before + 1, "the map's sound, and none of the row's after it"


# ---- The map ----


def place(page, told, name: str, clip: int) -> tuple[float, float]:
    """Where a clip is drawn, in pixels of the canvas."""
    points = np.array(told["map"]["maps"][name]["points"], float)
    part = (points[clip] - points.min(axis=0)) / np.ptp(points, axis=0)
    width, height = page.evaluate(
        "[document.querySelector('.map-canvas').clientWidth, document.querySelector('.map-canvas').clientHeight]"
    )
    return 16 + part[0] * (width - 32), 16 + (1 - part[1]) * (height - 32)


def named(told, clip: int) -> str:
    table = told["map"]["columns"]
    digit, read, voice = table["digit"][clip], table["read"][clip], told["map"]["voices"][table["voice"][clip]]
    verdict = "it rightly" if digit == read else f"{WORDS[read]}, wrong"
    return f"{WORDS[digit].capitalize()}, said by the synthetic voice {voice}; this chapter’s model read {verdict}, {percent(table['chance'][clip])} sure."


def lonely(told, name: str) -> list[int]:
    """Clips that have no other too near to point at."""
    points = np.array(told["map"]["maps"][name]["points"])
    apart = NearestNeighbors(n_neighbors=1).fit(points).kneighbors()[0][:, 0]
    return list(np.argsort(-apart)[:8])


def test_a_click_names_and_plays_the_clip_that_is_drawn_there(moved, told, voices):
    page = moved("map")
    page.locator(".map-canvas").scroll_into_view_if_needed()
    for name in ("chapter", "spotter"):
        page.check(f".map-stage input[type=radio] >> nth={('chapter', 'spotter').index(name)}")
        page.wait_for_timeout(1200)
        for clip in lonely(told, name):
            x, y = place(page, told, name, clip)
            page.locator(".map-canvas").hover(position={"x": x, "y": y})
            assert status(page, "map").replace("\xa0", " ") == named(told, clip)
            page.locator(".map-canvas").click(position={"x": x, "y": y})
            page.wait_for_function(
                "() => !document.querySelector('.map-stage .moving-status').textContent.startsWith('Loading')"
            )
            page.wait_for_function("() => made.length > 0")
            assert played(page, voices, told["map"]["columns"]["bounds"][clip])
        told_alike = told["map"]["maps"][name]["alike"]
        for share in told_alike.values():
            assert percent(share) in page.inner_text(".map-told").replace("\xa0", " ")


def test_arrow_keys_go_to_the_neighbour_on_their_side_and_enter_plays(moved, told, voices):
    page = moved("map")
    page.focus(".map-canvas")
    page.keyboard.press("PageDown")
    assert status(page, "map").replace("\xa0", " ") == named(told, 0)
    spots = np.array([place(page, told, "chapter", clip) for clip in range(len(told["map"]["columns"]["digit"]))])
    at = 0
    for key, ahead in (
        ("Right", (1, 0)),
        ("Down", (0, 1)),
        ("Left", (-1, 0)),
        ("Up", (0, -1)),
        ("Down", (0, 1)),
        ("Right", (1, 0)),
    ):
        away = spots - spots[at]
        along, aside = away @ ahead, np.abs(away @ ahead[::-1])
        cost = np.where((along > 0.5) & (aside <= along), along + 2 * aside, np.inf)
        at = int(cost.argmin()) if np.isfinite(cost.min()) else at
        page.keyboard.press(f"Arrow{key}")
        assert status(page, "map").replace("\xa0", " ") == named(told, at), key
    page.keyboard.press("Enter")
    page.wait_for_function("() => made.length > 0")
    assert played(page, voices, told["map"]["columns"]["bounds"][at])
    visited = set()
    for _ in range(len(spots)):
        page.keyboard.press("PageDown")
        visited.add(page.evaluate("document.querySelector('.map-stage .moving-status').textContent"))
    assert visited == {named(told, clip).replace(" %", "\xa0%") for clip in range(len(spots))}


def test_colours_follow_what_was_chosen_and_a_redraw_is_quick(moved, told):
    page, table = moved("map"), told["map"]["columns"]
    wrong = next(clip for clip in lonely(told, "chapter") if table["digit"][clip] == table["read"][clip])
    seen = set()
    for number, name in enumerate(("digit", "voice", "right"), 2):
        page.check(f".map-stage input[type=radio] >> nth={number}")
        x, y = place(page, told, "chapter", wrong)
        seen.add(
            page.evaluate(
                """([x, y]) => {
                    const pixels = document.querySelector(".map-canvas").getContext("2d").getImageData(x - 6, y - 6, 12, 12).data;
                    let best = 0;
                    for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] > pixels[best + 3]) best = i;
                    return pixels.slice(best, best + 3).join();
                }""",
                [x, y],
            )
        )
        legend = page.inner_text(".map-legend")
        assert {"digit": "8", "voice": told["map"]["voices"][0], "right": "read rightly"}[name] in legend
    assert len(seen) >= 2
    spent = page.evaluate(
        """() => {
            const canvas = document.querySelector(".map-canvas"), began = performance.now();
            for (let i = 0; i < 50; i++) canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "PageDown" }));
            return (performance.now() - began) / 50;
        }"""
    )
    assert spent < REDRAW
    press(page, "map", "Reset")
    assert page.is_checked(".map-stage input[type=radio] >> nth=2") and status(page, "map") == ""


# ---- The reader's own voice ----


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> Path:
    """A word by a synthetic voice that is on no map, with quiet around it, as a person leaves it."""
    folder = tmp_path_factory.mktemp("said")
    word = espeak.Utterance(
        "four.wav", "four", 0, rate=150, pitch=50, range=50, peak=0.6, lead=1.2, tail=1.5, noise=0.0003
    )
    list(espeak.speak_all([espeak.Job("own", "en-us", "m3", str(folder), [word])], 1))
    return folder / "four.wav"


def test_python_and_the_page_place_a_new_voice_alike(moved, told):
    """Pooled, compared with the packed directions, and weighed."""
    page, random, spotter = moved("map"), np.random.default_rng(0), load_onnx(moving.spotter_model())
    sound = (0.1 * random.standard_normal(12_000)).astype(np.float32)
    scales = moving.say_a_digit.scales(moving.spotter_model())
    embedding = spotter(sound[None])[1][0]
    point = moving.pooled(embedding, scales)
    assert page.evaluate("(rows) => spoken.pool(rows)", embedding.tolist()) == pytest.approx(point.tolist(), abs=1e-5)
    table, packed = told["map"]["columns"], told["map"]["maps"]["spotter"]["directions"]
    directions = (
        np.frombuffer(base64.b64decode(packed["bytes"]), np.int8).reshape(len(table["digit"]), -1) * packed["scale"]
    )
    group = [f"{digit} {voice}" for digit, voice in zip(table["digit"], table["voice"], strict=True)]
    near = page.evaluate(
        "([point, packed, group]) => spoken.placed(point, spoken.unpack(packed, group.length), group)",
        [point.tolist(), packed, group],
    )
    apart = 1 - directions @ point
    best = {name: min(np.flatnonzero(np.array(group) == name), key=lambda clip: apart[clip]) for name in set(group)}
    wanted = sorted(best.values(), key=lambda clip: apart[clip])[:5]
    assert [one["clip"] for one in near] == wanted
    assert [one["apart"] for one in near] == pytest.approx(apart[wanted].tolist(), abs=1e-5)
    weights = 1 / apart[wanted]
    assert [one["weight"] for one in near] == pytest.approx((weights / weights.sum()).tolist(), abs=1e-4)


def test_a_new_voice_is_put_beside_the_words_that_are_like_it(asked, told, said, runtime):
    page = asked(said)
    text = status(page, "map").replace("\xa0", " ")
    assert text.startswith("Your word, which this model reads as four ("), text
    directions = moving.heard([said], moving.spotter_model())[0]
    table, packed = told["map"]["columns"], told["map"]["maps"]["spotter"]["directions"]
    others = (
        np.frombuffer(base64.b64decode(packed["bytes"]), np.int8).reshape(len(table["digit"]), -1) * packed["scale"]
    )
    apart = 1 - others @ directions
    listed = re.findall(r"(\w+) by (\w+) \(([\d.]+)\)", text)
    assert len(listed) == len({one[:2] for one in listed}) == 5
    for word, voice, far in listed[:3]:
        mine = [
            i
            for i, digit in enumerate(table["digit"])
            if WORDS[digit] == word and told["map"]["voices"][table["voice"][i]] == voice
        ]
        assert float(far) == pytest.approx(apart[mine].min(), abs=0.05), "the browser's microphone adds its own"
    assert listed[0][0] == WORDS[table["digit"][int(apart.argmin())]] == "four"
    assert page.is_checked(".map-stage input[type=radio] >> nth=1"), "the map that has a place for it"
    assert page.evaluate("document.activeElement.className") == "map-canvas"
    page.keyboard.press("Enter")
    sound, rate = soundfile.read(io.BytesIO(base64.b64decode(page.evaluate(LAST))))
    own = read_audio(said, rate)
    (word,) = vad.find_words(own, rate)
    assert len(sound) / rate == pytest.approx(word.end - word.start, abs=0.1)
    press(page, "map", "Reset")
    assert page.locator(".map-note").is_hidden() and page.is_checked(".map-stage input[type=radio] >> nth=0")


def test_a_microphone_that_is_refused_gets_one_sentence(moved):
    page = moved("map")
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError'); }; }"
    )
    press(page, "map", "Put your own voice")
    page.wait_for_function(
        "() => document.querySelector('.map-stage .moving-asked').textContent.startsWith('The browser did not let')"
    )
    assert page.locator(".map-note").is_hidden()
    page.focus(".map-canvas")
    page.keyboard.press("PageDown")
    assert "said by the synthetic voice" in status(page, "map"), "and the map goes on"

"""What tests that open a real browser share."""

import contextlib
import functools
import re
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PROGRAM = next(filter(None, map(shutil.which, PROGRAMS)), None)
# Without these Chromium asks its makers' servers for news at every start.
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

# Milliseconds: three times what a slider may take to redraw a second of sound on a core of its own. Here the core is shared.
REDRAW = 150

# Every player's length in seconds, once the browser has read it; -1 if it cannot.
LENGTHS = """() => Promise.all([...document.querySelectorAll("audio")].map(audio => new Promise(done => {
    if (audio.readyState) return done(audio.duration);
    audio.onloadedmetadata = () => done(audio.duration);
    audio.onerror = () => done(-1);
    audio.load();
})))"""


def files_asked(asked: Iterable[str]) -> set[Path]:
    """The files among the addresses that a page read from a disk asks for."""
    return {Path(re.split(r"[?#]", url.removeprefix("file://"))[0]) for url in asked if url.startswith("file:")}


def barriers(page, within: str | None = None) -> set[tuple[str, str, str]]:
    """What axe calls a serious or critical barrier on a page, or in parts of it, as it is now: (rule, place, HTML)."""
    from axe_playwright_python.sync_playwright import Axe

    return {
        (violation["id"], str(node["target"]), node["html"][:120])
        for violation in Axe().run(page, context=within, options={"preload": False}).response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    }


def sideways(page) -> int:
    """By how many pixels a page is wider than its window."""
    return page.evaluate("document.scrollingElement.scrollWidth - innerWidth")


@contextlib.contextmanager
def served(folder: Path, late: str | None = None) -> Iterator[str]:
    """The address of a server of a folder; what has `late` in its name comes after a second and a half."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            time.sleep(1.5 if late and late in self.path else 0)
            super().do_GET()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def status(page, name: str) -> str:
    """What a figure that moves says, its spaces all alike."""
    return " ".join(page.inner_text(f".{name}-stage .moving-status").split())


def press(page, name: str, text: str) -> None:
    """Presses the button of a figure whose words begin so, and waits until that is done."""
    page.click(f".{name}-stage button:visible >> text=/^{text}/")
    page.wait_for_selector(f".{name}-stage:not([aria-busy=true])")


def drag(page, name: str, number: int, value: float) -> float:
    """Moves a figure's slider, and returns the milliseconds until all is drawn and laid out anew."""
    return page.evaluate(
        """([name, number, value]) => {
            const slider = document.querySelectorAll(`.${name}-stage input[type=range]`)[number], began = performance.now();
            slider.value = value;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            document.body.offsetHeight;
            return performance.now() - began;
        }""",
        [name, number, value],
    )

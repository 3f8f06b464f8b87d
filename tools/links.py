"""Asks every link of the course that leads elsewhere, over the network: `make links`. Sphinx's own link check does the asking.

Links inside the course need no network: Sphinx and the tests check those.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from pybtex.database import parse_file

from spokendigits.errors import CourseError
from tools.prose import ROOT, name, notebooks, pages

LINK = re.compile(r"https?://[^\s<>()\"'`\]\[{}|\\]+")
# Addresses that a reader's own computer has, and those that stand for any address.
NOT_ELSEWHERE = re.compile(r"https?://(?:localhost|127\.0\.0\.1|192\.0\.2\.\d+|[\w.-]*example\.(?:org|com))\b")
SETTINGS = """
project = "links"
linkcheck_timeout = 20
linkcheck_workers = 8
linkcheck_anchors = False
linkcheck_allow_unauthorized = True
"""


def links() -> dict[str, list[str]]:
    """Every link to another host, with the places that have it: pages, notebooks, references, settings and code."""
    found: dict[str, list[str]] = {}

    def add(text: str, where: str) -> None:
        for link in LINK.findall(text):
            if not NOT_ELSEWHERE.match(link):
                # pip's address of a release ends on @v0.1.0
                found.setdefault(link.rstrip(".,;:!?*").partition("@v")[0], []).append(where)

    for path in [*pages(), *(ROOT / one for one in ("_config.yml", "CITATION.cff", "pyproject.toml"))]:
        add(path.read_text(encoding="utf-8"), name(path))
    for path in notebooks():
        for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
            add(cell.source, f"{name(path)}, cell {number}")
    for path in sorted((ROOT / "spokendigits").rglob("*.py")):
        add(path.read_text(encoding="utf-8"), name(path))
    for key, entry in parse_file(ROOT / "book/references.bib").entries.items():
        if "doi" in entry.fields:
            add(f"https://doi.org/{entry.fields['doi']}", f"book/references.bib, {key}")
        add(entry.fields.get("url", ""), f"book/references.bib, {key}")
    return found


def broken(found: dict[str, list[str]]) -> list[str]:
    """Asks each link; one line for each that does not answer, with its places and the reason."""
    with tempfile.TemporaryDirectory(prefix="spokendigits-links-") as folder:
        source, made = Path(folder, "source"), Path(folder, "made")
        source.mkdir()
        (source / "conf.py").write_text(SETTINGS)
        (source / "index.rst").write_text(
            "Links\n=====\n\n" + "".join(f"* `{i} <{link}>`__\n" for i, link in enumerate(found))
        )
        command = [sys.executable, "-m", "sphinx", "-q", "-b", "linkcheck", str(source), str(made)]
        done = subprocess.run(command, capture_output=True, text=True)
        report = made / "output.json"
        if not report.is_file():
            raise CourseError(
                f"Sphinx could not check the links: {done.stderr.strip().splitlines()[-1:]}. Run `make setup`."
            )
        answers = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    asked = {answer["uri"] for answer in answers}
    lines = []
    for one in answers:
        if one["status"] in ("broken", "timeout"):
            reason = "no answer" if "Max retries" in one["info"] else (one["info"].splitlines() or [one["status"]])[0]
            lines.append(f"{', '.join(sorted(set(found[one['uri']])))}: {one['uri']}: {reason}")
    return sorted(lines) + [f"{link}: was not asked" for link in found if link not in asked]


def main() -> None:
    found = links()
    print(f"Asking for {len(found)} links. This takes a minute or two.", flush=True)
    lines = broken(found)
    if len(lines) == len(found):
        raise CourseError("No link answered: is there a network? Try again where a browser opens pages.")
    if lines:
        raise CourseError(
            "\n".join([*lines, f"{len(lines)} of {len(found)} links did not answer. Mend them, or try again later."])
        )
    print(f"All {len(found)} links answered.")


if __name__ == "__main__":
    try:
        main()
    except CourseError as error:
        sys.exit(str(error))

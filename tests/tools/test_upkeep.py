"""What wears out unseen: spelling, links, the glossary, the references, the pins."""

import datetime
import re
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from pybtex.database import parse_file
from serving import Server
from spellchecker import SpellChecker

from spokendigits.errors import CourseError
from tools import links, prose, references, stale, terms

ROOT = Path(__file__).resolve().parents[2]
# A word on its own: no part of a name such as make_clips, np.load, split(), epochs=3 or wav2vec.
WORD = re.compile(r"(?<![\w.])[^\W\d_]+(?:['’][^\W\d_]+)*(?![\w(=]|\.\w)")
REFERENCES = parse_file(ROOT / "book/references.bib").entries


def own_words() -> list[str]:
    lines = (ROOT / "tests/words.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_every_word_is_in_the_dictionary_or_in_words_txt_which_is_sorted_and_has_no_others():
    """Or is an author in the references."""
    places: dict[str, list[str]] = {}
    for where, first, text in prose.texts():
        for found in WORD.finditer(text):
            word = found[0].replace("’", "'").removesuffix("'s")
            places.setdefault(word, []).append(f"{where}, line {first + text.count(chr(10), 0, found.start())}")
    people = [str(person) for entry in REFERENCES.values() for person in entry.persons["author"]]
    dictionary, words = SpellChecker(), own_words()
    dictionary.word_frequency.load_words([*words, *re.findall(r"[^\W\d_]+", " ".join(people))])
    unknown = dictionary.unknown(places)
    lines = [f"{places[word][0]}: {word!r}" for word in sorted(places, key=str.lower) if word.lower() in unknown]
    hint = "are in no dictionary. If a word is right, add it to tests/words.txt, in its place of the alphabet."
    assert not lines, "\n".join([*lines, hint])
    assert words == sorted(set(words), key=str.lower)
    known = {word.lower() for word in words} - SpellChecker().unknown(words)
    assert known == set(), "the dictionary has them: take them out of tests/words.txt"


def test_links_elsewhere_are_well_formed_safe_and_written_in_one_way():
    found = links.links()
    assert len(found) > 30
    ways: dict[str, set[str]] = {}
    for link, places in found.items():
        parts = urlsplit(link)
        assert parts.scheme == "https", f"{places[0]}: {link}: write https"
        assert re.fullmatch(r"(?:[a-z0-9-]+\.)+[a-z]{2,}", parts.netloc), f"{places[0]}: {link}: no name of a host"
        assert not re.search(r"//|/\.|utm_|\s", parts.path + parts.query), f"{places[0]}: {link}"
        plain = parts.netloc.removeprefix("www.") + parts.path.removesuffix("/").removesuffix(".git").lower()
        ways.setdefault(f"{plain}?{parts.query}#{parts.fragment}", set()).add(link)
    several = [sorted(way) for way in ways.values() if len(way) > 1]
    assert several == [], "one page, one address"


def test_asking_the_links_gives_one_line_for_each_broken_one():
    with Server() as server, socket.socket() as closed:
        server.files["/good"] = b"here"
        closed.bind(("127.0.0.1", 0))  # a port at which nobody listens
        places = {f"{server.url}/good": ["README.md"], f"{server.url}/gone": ["book/b.md", "book/a.md"]}
        places[f"http://127.0.0.1:{closed.getsockname()[1]}/"] = ["README.md"]
        lines = links.broken(places)
    assert len(lines) == 2 and lines[0].startswith("README.md: http") and lines[0].endswith("/: no answer")
    assert lines[1].startswith(f"book/a.md, book/b.md: {server.url}/gone: 404")


def test_the_links_of_a_notebook_lead_to_files_of_the_repository():
    """JupyterLab and GitHub follow them too. Whether an anchor is there, the build of the book says."""
    followed = 0
    for path in prose.notebooks():
        for number, text in enumerate(terms.read(path)):
            found = re.search(r"\{[\w:]+\}`|^(?:```|:::)\{", text, re.MULTILINE)
            assert not found, f"{path.name}, cell {number}: only Sphinx reads {found[0]}"
            for link in re.findall(r"\]\(([^)\s]+)\)", text):
                if not re.match(r"https?:|#", link):
                    followed += 1
                    assert (path.parent / link.partition("#")[0]).is_file(), f"{path.name}, cell {number}: {link}"
    assert followed >= 6


@pytest.mark.parametrize("path", terms.pages(), ids=lambda path: path.stem)
def test_a_term_is_linked_to_the_glossary_where_it_first_appears(path):
    lines = terms.unlinked(path)
    hint = f"`python -m tools.terms {prose.name(path)}` links them. An everyday use of a word? See FORMS in tools/terms.py."
    assert not lines, "\n".join([*lines, hint])


def test_terms_are_linked_once_where_a_reader_meets_them_first(tmp_path):
    page, path, new = tmp_path / "a.md", tmp_path / "a.ipynb", nbformat.v4
    page.write_text(
        '# The corpus\n\nSay "clips", `clips` and [clips](a.md). Clips of a log-mel spectrogram, of a hopper, clips.\n\n'
        "| epoch | hop |\n|---|---|\n| corpora | hop |\n\nA {term}`BCE <binary cross-entropy>`, binary cross-entropy.\n"
    )
    assert terms.link(page) == 4
    assert page.read_text() == (
        '# The corpus\n\nSay "clips", `clips` and [clips](a.md). {term}`Clips <clip>` of a {term}`log-mel spectrogram`, of a '
        "hopper, clips.\n\n| epoch | hop |\n|---|---|\n| {term}`corpora <corpus>` | {term}`hop` |\n\n"
        "A {term}`BCE <binary cross-entropy>`, binary cross-entropy.\n"
    )
    assert terms.link(page) == 0 and terms.unlinked(page) == []
    shown = new.new_output("stream", name="stdout", text="clip\n")
    cells = [new.new_code_cell("clip", outputs=[shown]), new.new_markdown_cell("A *clip* has\nmel bins. Another clip.")]
    nbformat.write(new.new_notebook(cells=cells), path)
    assert terms.unlinked(path) == ["a.ipynb, cell 1, line 1: 'clip'", "a.ipynb, cell 1, line 2: 'mel bins'"]
    assert terms.link(path) == 2 and terms.link(path) == 0
    code, text = nbformat.read(path, as_version=4).cells
    assert (code.source, code.outputs) == ("clip", [shown])
    assert text.source == (
        "A *[clip](../book/glossary.md#clip)* has\n[mel bins](../book/glossary.md#mel-bin). Another clip."
    )


def test_every_entry_of_the_glossary_is_used_and_short():
    used = set().union(*(terms.first_places(terms.read(path)) for path in terms.pages()))
    glossary = (ROOT / "book/glossary.md").read_text(encoding="utf-8")
    # Some are met only as a setting or in an output: AdamW, mixed_precision.
    seen = " ".join(
        f"{cell.source} {' '.join(str(output.get('data', output.get('text'))) for output in cell.get('outputs', []))}"
        for path in prose.notebooks()
        for cell in nbformat.read(path, as_version=4).cells
    )
    seen = " ".join([seen, *(path.read_text(encoding="utf-8") for path in terms.pages() if path.suffix == ".md")])
    seen = seen.replace("_", " ")
    for group in terms.entries():
        met = any(re.search(rf"\b{term.replace('-', '[- ]')}s?\b", seen, re.IGNORECASE) for term in group)
        assert group[0] in used or met, f"book/glossary.md: no page uses {group[0]!r}: take it out, or use it"
        (said,) = re.findall(rf"^### {re.escape(group[-1])}\n\n((?:[^#\n].*\n)+)", glossary, re.MULTILINE)
        said = re.sub(r" \(\[.*?\)\)", "", said)
        assert len(re.findall(r"[.?](?=\s)", said)) <= 4 and len(said.split()) <= 60, f"{group[0]}: say it shorter"
    listed = [term.lower() for group in terms.entries() for term in group]
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("key", REFERENCES)
def test_a_reference_says_who_what_when_where_and_leads_there(key):
    entry = REFERENCES[key]
    assert entry.persons.get("author"), "no author"
    assert entry.fields.get("title"), "no title"
    assert re.fullmatch(r"(?:19|20)\d\d|n\.d\.", entry.fields.get("year", "")), "no year (n.d. if it gives none)"
    assert {"journal", "booktitle", "institution", "howpublished"} & {*entry.fields}, "no journal, book or publisher"
    doi, url = entry.fields.get("doi", ""), entry.fields.get("url", "")
    assert doi or url, "neither a DOI nor an address"
    assert not doi or re.fullmatch(r"10\.\d{4,9}/[^\s{}]+", doi), doi
    assert not url or url.startswith("https://"), url


def test_every_reference_is_cited_and_every_citation_resolves():
    """Where it is cited: {cite:p}`key`, or [Name, year](../book/references.md#key)."""
    places: dict[str, list[str]] = {}
    for path in [ROOT / "book/glossary.md", *terms.pages()]:
        for text in terms.read(path):
            keys = [key.strip() for one in re.findall(r"\{cite:\w+\}`([^`]+)`", text) for key in one.split(",")]
            for key in [*keys, *re.findall(r"references\.md#(\w+)\)", text)]:
                places.setdefault(key, []).append(prose.name(path))
    assert not {key: where for key, where in places.items() if key not in REFERENCES}, "no such entry in references.bib"
    assert set(REFERENCES) - set(places) == set(), "cite them where they are first used, or take them out"


def test_the_page_of_references_is_that_of_the_references():
    assert references.PAGE.read_text(encoding="utf-8") == references.page(), "run `python -m tools.references`"


def test_a_notebook_names_the_authors_and_the_year_of_what_it_cites():
    for path in prose.notebooks():
        for text in terms.read(path):
            for words, key in re.findall(r"\[([^\]]+)\]\(\.\./book/references\.md#(\w+)\)", text):
                author = REFERENCES[key].persons["author"][0]
                name = re.sub(r"[{}]|^The ", "", " ".join([*author.prelast_names, *author.last_names]).replace("{", ""))
                assert words.startswith(name) and words.endswith(REFERENCES[key].fields["year"]), (
                    f"{path.name}: {words}"
                )


OUTDATED = """[{"name": "jupyter-book", "latest_version": "2.1.7"}, {"name": "docutils", "latest_version": "0.99"},
{"name": "tqdm", "latest_version": "4.70.1"}, {"name": "pip", "latest_version": "26.3"}]"""
PYLOCK = """
[[packages]]
name = "docutils"
version = "0.21.2"
sdist = { url = "https://index.example.org/d.tar.gz", upload-time = 2024-04-23T18:57:18Z, size = 2204444, hashes = { } }
wheels = [{ url = "https://index.example.org/d.whl", upload-time = 2024-04-23T18:57:14Z, size = 587408, hashes = { } }]

[[packages]]
name = "jupyter-book"
version = "1.0.4.post1"
wheels = [{ url = "https://index.example.org/j.whl", size = 45015, hashes = { } }]
"""


def test_the_report_says_how_old_each_pin_is_and_what_holds_it(tmp_path):
    """A program in uv's place prints what uv 0.13.9 does, shortened, and writes it to the file after -o."""
    (tmp_path / "list").write_text(OUTDATED)
    (tmp_path / "compile").write_text(PYLOCK)
    (tmp_path / "uv").write_text(f'#!/bin/sh\ncp "{tmp_path}/$2" "${{8:-/dev/stdout}}"\n')
    (tmp_path / "uv").chmod(0o755)
    other = "darwin" if sys.platform != "darwin" else "linux"
    (tmp_path / "requirements.lock").write_text(
        f"docutils==0.21.2\njupyter-book==1.0.4.post1\nnumpy==0.1 ; sys_platform == '{other}'\ntqdm==4.70.1\n"
    )
    (tmp_path / "pyproject.toml").write_text(
        '  # It is another program.\n  "jupyter-book>=1.0.4,<2",\n  "tqdm>=4.66",\n'
    )
    rows = stale.report(tmp_path, str(tmp_path / "uv"), datetime.date(2026, 4, 23))
    assert [list(row.values())[:4] for row in rows] == [
        ["docutils", "0.21.2", "0.99", "24 months"],
        ["jupyter-book", "1.0.4.post1", "2.1.7", "unknown"],
    ], "tqdm's pin is the newest, pip is no pin"
    assert re.search(r"\bmyst-parser needs .*<0\.", rows[0]["held by"])
    assert re.fullmatch(r"pyproject\.toml: .*<2.* \(It is another program\.\)", rows[1]["held by"])

    with pytest.raises(CourseError, match=r"^The package index did not answer\. Check the network"):
        stale.report(tmp_path, "false")


def test_every_upper_bound_says_why():
    ranges = stale.limits(ROOT / "pyproject.toml")
    assert {"torch", "jupyter-book"} <= set(ranges)
    for requirement, reason in ranges.values():
        assert isinstance(requirement, Requirement)
        if any(one.operator in ("<", "<=", "==", "~=", "!=") for one in requirement.specifier):
            assert len(reason.split()) >= 4, f"pyproject.toml: {requirement}: say above it why newer ones will not do"


def test_the_workflow_runs_what_contributing_says_it_runs():
    said = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]
    for step in job["steps"]:
        if "run" in step:
            assert f"`{step['run'].removeprefix('.venv/bin/')}`" in said, step["run"]
    for version in job["strategy"]["matrix"]["python"]:
        assert version in said

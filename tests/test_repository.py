"""The files around the package agree with each other and with the code."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import spokendigits
from spokendigits import lanes
from spokendigits.app import cli, doctor
from spokendigits.corpora import audiomnist, speech_commands, synthetic
from tools import pack, stale
from tools.reading import code_minutes

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())
REPOSITORY = CONFIG["repository"]["url"]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "CODE_OF_CONDUCT.md",
    "LICENSE-CONTENT.md",
    "book/index.md",
    "book/how_to_use.md",
]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
CONDA_NAMES = {"pytorch-cpu": "torch", "pytorch": "torch"}


def required() -> dict[str, Requirement]:
    """Every package that pyproject.toml asks for, extras included, by name."""
    lines = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def commands(path: str) -> list[str]:
    """The lines of a page's code blocks and its inline code."""
    blocks = re.findall(r"```(?:bash|powershell)\n(.*?)```", text(path), re.DOTALL)
    inline = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text(path))
    return [line.split(" #")[0].strip() for line in "\n".join(blocks).splitlines()] + inline


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))


def test_environment_asks_for_what_the_project_asks_for():
    environment = yaml.safe_load(text("environment.yml"))
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    extras = ",".join(PROJECT["optional-dependencies"])
    assert pip == [f"-e .[{extras}]"]  # pip adds whatever conda did not bring, in the project's ranges
    for entry in conda:
        name, specifier = re.fullmatch(r"([\w-]+)(.*)", entry).groups()
        if name == "python":
            assert f"{specifier.lstrip('=')}.0" in Requirement(f"python{PROJECT['requires-python']}").specifier
        elif name != "pip":
            assert required()[CONDA_NAMES.get(name, name)].specifier == SpecifierSet(specifier), entry


def test_lock_covers_the_project_and_carries_no_address():
    locked = {}
    assert "://" not in text("requirements.lock")
    # Of each pin one file or more, by its digest: what was exchanged at the package index is refused.
    whole = re.fullmatch(
        r"(?:\S+==\S+(?: ; .+)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n)+", text("requirements.lock")
    )
    assert whole, "make it again, by the command of CONTRIBUTING.md"
    for pin in stale.pins(ROOT / "requirements.lock"):
        locked.setdefault(canonicalize_name(pin.name), []).append(str(pin.specifier).removeprefix("=="))
    for name, requirement in required().items():
        assert name in locked, f"requirements.lock lacks {name}"
        assert all(version in requirement.specifier for version in locked[name]), f"{requirement}: {locked[name]}"


def test_versions_agree():
    citation = yaml.safe_load(text("CITATION.cff"))
    assert citation["version"] == PROJECT["version"] == spokendigits.__version__
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["license"] == PROJECT["license"]


def test_licences_are_there():
    assert "Apache License" in text("LICENSE") and "END OF TERMS AND CONDITIONS" in text("LICENSE")
    assert "CC BY 4.0" in text("LICENSE-CONTENT.md")
    assert PROJECT["license-files"] == ["LICENSE"]


def bootstrap_cells() -> dict[str, str]:
    """The cell of each notebook that installs the course on Colab."""
    cells = {}
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        code = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        cells[f"notebooks/{path.name}"] = "\n".join(source for source in code if "google.colab" in source)
    return cells


def test_one_address_of_the_repository():
    carriers = {path: text(path) for path in ("README.md", "CITATION.cff", "CONTRIBUTING.md", "book/how_to_use.md")}
    place = REPOSITORY.removeprefix("https://github.com/")
    for path, content in (carriers | bootstrap_cells()).items():
        assert REPOSITORY in content, f"{path} does not name {REPOSITORY}, the repository in _config.yml"
    for path, source in bootstrap_cells().items():
        assert f"git+{REPOSITORY}@v{PROJECT['version']}" in source, f"{path} installs another release on Colab"
    opened = re.findall(r"/github/([\w.-]+/[\w.-]+)/blob/([\w.]+)/", carriers["README.md"])
    assert set(opened) == {(place, f"v{PROJECT['version']}")}, "the notebook of one release, the package of another"
    for address in PROJECT.get("urls", {}).values():
        assert "github.com" not in address or address.startswith(REPOSITORY), address


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_make_targets_that_exist(path):
    workflow = yaml.safe_load(path.read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    lines = [line for step in steps for line in step.get("run", "").splitlines()]
    called = {target for line in lines for target in re.findall(r"\bmake ([a-z-]+)", line)}
    assert called <= make_targets() and lines
    for action in re.findall(r"uses: *(\S+)", path.read_text()):
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), f"{action}: a tag can be moved, a commit cannot"
    assert workflow["permissions"] == {"contents": "read"}, "more only for the job that needs it"
    for line in lines:
        if "spokendigits " in line:
            cli.parser().parse_args(shlex.split(line.split("spokendigits ", 1)[1]))
    # Each step says which failure it is there for.
    for match in re.finditer(r"(.*)\n +- run:", path.read_text()):
        assert match.group(1).strip().startswith("# Fails when"), match.group(0)


def test_what_is_published_is_a_release_whose_tag_is_its_version():
    """The notebooks on Colab install the package of that tag; without it pip finds nothing."""
    workflow = yaml.safe_load(text(".github/workflows/publish.yml"))
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML takes "on" for true
    (line,) = [step["run"] for step in workflow["jobs"]["build"]["steps"] if "GITHUB_REF_NAME" in step.get("run", "")]
    for name, status in ((f"v{PROJECT['version']}", 0), ("v9.9.9", 1), ("main", 1)):
        done = subprocess.run(["bash", "-c", line], cwd=ROOT, env={**os.environ, "GITHUB_REF_NAME": name}, check=False)
        assert done.returncode == status, name


def test_all_places_name_the_same_pythons():
    """Colab's is 3.13 since August 2026."""
    allowed = Requirement(f"python{PROJECT['requires-python']}").specifier
    minors = [minor for minor in range(9, 20) if f"3.{minor}.9" in allowed]
    pythons = [f"3.{minor}" for minor in minors]
    assert minors[-1] >= 13 and [f"{major}.{minor}" for major, minor in doctor.PYTHONS] == pythons == [*pack.PYTHONS]
    assert yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"]["test"]["strategy"]["matrix"]["python"] == pythons
    words = f"Python {', '.join(pythons[:-1])} or {pythons[-1]}"
    for path in (
        "Makefile",
        "README.md",
        "CONTRIBUTING.md",
        "book/how_to_use.md",
        "book/index.md",
        "book/troubleshooting.md",
    ):
        assert words in text(path), f"{path} does not say {words}"
    assert f"(3, {minors[0]}) <= v < (3, {minors[-1] + 1})" in text("Makefile")


def test_the_ranges_hold_torch_torchaudio_and_torchvision_together():
    """torchaudio 2.11 is the newest there is, and beside another torch it does not load."""
    for name, releases in (
        ("torch", ["2.11.0", "2.12.0", "2.15.0"]),
        ("torchaudio", ["2.11.0", "2.12.0"]),
        ("torchvision", ["0.26.0", "0.30.0"]),
    ):
        assert list(required()[name].specifier.filter(releases)) == releases[:1]


@pytest.mark.parametrize("path", PAGES)
def test_commands_on_a_page_exist(path):
    for line in commands(path):
        for target in re.findall(r"(?:^|\s)make ([a-z-]+)", line):
            assert target in make_targets(), f"{path}: make {target}"
        match = re.match(r"(?:\S*[/\\])?spokendigits ([a-z].*)", line)
        if match:
            try:
                cli.parser().parse_args(shlex.split(match.group(1).replace("CORPUS", "fsdd")))
            except SystemExit:
                pytest.fail(f"{path}: the command line does not know `{line}`")


def test_the_readme_says_how_long_the_helper_takes_to_read():
    """By the course's own rate for code, to the half hour, from the files that lie flat in spokendigits/."""
    said = re.search(r"takes about (\d)( and a half)? hours to read", text("README.md"))
    hours = code_minutes(sorted((ROOT / "spokendigits").glob("*.py"))) / 60
    assert int(said[1]) + 0.5 * bool(said[2]) == round(2 * hours) / 2, f"{hours:.2f} hours"


def test_the_numbers_of_the_readme_are_those_of_the_code_and_of_the_stored_run():
    page, contributing = text("README.md"), text("CONTRIBUTING.md")
    run, checks = (int(re.search(rf"`make {name}` .*\| about (\d+) minutes", page)[1]) for name in ("run", "test"))
    # The notebooks' seconds, and a minute for the book.
    assert 0 <= run - sum(lanes.stored("fast")["course"]["seconds"].values()) / 60 < 1.5
    assert f"about {checks} minutes on two" in contributing and f"the book. {run} minutes on two" in text("Makefile")
    shape = audiomnist.SHAPE
    clips = shape["speakers"] * shape["digits"] * shape["takes"]
    assert f"| `audiomnist` | AudioMNIST: {clips:,} recordings of {shape['speakers']} people" in page
    assert (
        page.count(f"{len(synthetic.SPEAKERS)} synthetic voices") == 1
        and f"| {len(synthetic.SPEAKERS)} voices of" in page
    )
    people = lanes.stored("fsdd")["loso_mean"]
    assert f"Free Spoken Digit Dataset: {people['clips']:,} recordings of {len(people['speakers'])} people" in page
    many = f"{speech_commands.SHAPE[0]:,}"
    assert f"Speech Commands: {many} recordings" in page and f"{many} human" in text("book/how_to_use.md")


def test_every_target_of_the_makefile_says_what_it_does():
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^make ([a-z-]+) +\S", listed, re.MULTILINE)) == make_targets()


def test_the_setup_heeds_pips_settings_and_takes_one_release_of_uv(tmp_path):
    """`user = true`, and a mirror, in a variable or a file: uv knows neither."""
    said = subprocess.run(["make", "-n", "setup", f"VENV={tmp_path}"], cwd=ROOT, capture_output=True, text=True).stdout
    assert re.search(r"pip install .*--no-user .*uv==\d", said)
    shell = re.search(r"^index=.*\n.*--default-index \$index\}\"; ", said.replace("\\\n", "\n"), re.MULTILINE)[0]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://mirror\n")
    places = {"PIP_INDEX_URL": "https://mirror", "UV_DEFAULT_INDEX": "https://mirror"}
    for name, value in (places | {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}).items():
        environment = {"PATH": os.environ["PATH"], name: value}
        done = subprocess.run(["sh", "-c", f"{shell} echo $uv"], env=environment, capture_output=True, text=True)
        assert done.stdout.endswith("--default-index https://mirror\n"), name


def test_the_lab_is_where_the_book_looks_for_it():
    """Everywhere by the line of the Makefile, which test_lab.py runs."""
    (line,) = re.findall(r"^lab:.*\n\t\$\(BIN\)/(.+)$", text("Makefile"), re.MULTILINE)
    for path in ("README.md", "book/how_to_use.md", "tools/pack_install.py"):
        started = re.findall(r"jupyter lab (?!list|stop).*\.ipynb", text(path))
        assert started and set(started) == {line}, path


@pytest.mark.parametrize("path", [path for path in PAGES if not path.startswith("book/")])  # Sphinx checks the book's
def test_links_between_files_resolve(path):
    links = re.findall(r"\]\(([^)\s]+)\)", text(path))
    assert links or path not in ("README.md", "CONTRIBUTING.md")
    for link in links:
        if re.match(r"https?://|mailto:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / path).parent / file if file else ROOT / path
        assert target.exists(), f"{path}: {link}"
        if anchor:
            content = target.read_text(encoding="utf-8")
            titles = [
                re.sub(r"[^\w -]", "", title).strip().lower() for title in re.findall(r"^#+ (.+)$", content, re.M)
            ]
            anchors = {title.replace(" ", "-") for title in titles} | set(re.findall(r"^\((.+)\)=$", content, re.M))
            assert anchor in anchors, f"{path}: {link}"


def test_no_file_names_a_place_on_somebodys_machine():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    private = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+)/|[A-Z]:\\+Users\\+\w")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if not path.is_file() or name.startswith("tests/"):
            continue
        found = private.search(path.read_text(encoding="utf-8", errors="ignore"))
        assert not found, f"{name}: {found.group(0)}"

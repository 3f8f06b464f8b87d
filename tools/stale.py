"""How old the pins of requirements.lock are: `make stale`. It asks the package index that uv is set up for, and changes nothing."""

import datetime
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from spokendigits.errors import CourseError
from tools.prose import ROOT

RENEW = """To renew the pins, widen a range in pyproject.toml where one is in the way, then:
  run the `uv pip compile` command of CONTRIBUTING.md, section Dependencies, with `--upgrade` at its end
  make test, and look at what changed in the outputs and the book before you commit."""


def report(root: Path = ROOT, uv: str | None = None, today: datetime.date | None = None) -> list[dict[str, str]]:
    """One row for each pin that is not the newest release: package, pinned, newest, age, held by.

    root: the folder with requirements.lock and pyproject.toml. uv: the program (None: the environment's). "age" is the time
    since the pinned release came out, "held by" names what forbids the newest one, and why. Raises CourseError when the index
    does not answer.
    """
    uv = uv or str(Path(sys.executable).parent / "uv")
    lock = locked(root / "requirements.lock")
    installed = json.loads(asked([uv, "pip", "list", "--outdated", "--format", "json", "--python", sys.executable]))
    newest = {canonicalize_name(one["name"]): one["latest_version"] for one in installed}
    stale = {name: lock[name] for name in sorted(newest) if name in lock and lock[name] != newest[name]}
    released = dates(uv, stale) if stale else {}
    ranges = limits(root / "pyproject.toml")
    rows = []
    for name, pinned in stale.items():
        age = ((today or datetime.date.today()) - released[name]).days if name in released else None
        rows.append(
            {
                "package": name,
                "pinned": pinned,
                "newest": newest[name],
                "age": "unknown" if age is None else f"{age} days" if age < 60 else f"{age // 30} months",
                "held by": holders(name, newest[name], ranges),
            }
        )
    return rows


def asked(command: list[str]) -> str:
    """What a command prints. Its own message names the index and its address, so it is not repeated."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        raise CourseError(f"{command[0]}: not there. Run `make setup`, then `make stale` again.") from None
    if done.returncode:
        raise CourseError("The package index did not answer. Check the network, then run `make stale` again.")
    return done.stdout


def pins(path: Path) -> list[Requirement]:
    """What a lock pins, without the digests of the files."""
    text = re.sub(r"\s*\\\n\s*--hash=\S+", "", path.read_text(encoding="utf-8"))
    return [Requirement(line) for line in text.splitlines() if line.strip()]


def locked(path: Path) -> dict[str, str]:
    """The versions that the lock has for this Python on this system, by package."""
    here = [one for one in pins(path) if one.marker is None or one.marker.evaluate()]
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in here}


def dates(uv: str, pins: dict[str, str]) -> dict[str, datetime.date]:
    """The day on which each pinned release came out, where the index tells."""
    with tempfile.TemporaryDirectory(prefix="spokendigits-stale-") as folder:
        wanted, made = Path(folder, "wanted.in"), Path(folder, "pylock.toml")
        wanted.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()))
        asked([uv, "pip", "compile", "--no-deps", "--quiet", "--format", "pylock.toml", "-o", str(made), str(wanted)])
        packages = tomllib.loads(made.read_text(encoding="utf-8"))["packages"]
    days = {}
    for package in packages:
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        if times := [file["upload-time"] for file in files if "upload-time" in file]:
            days[canonicalize_name(package["name"])] = min(times).date()
    return days


def limits(path: Path) -> dict[str, tuple[Requirement, str]]:
    """The requirements of pyproject.toml with the reason that stands as a comment above each, or behind it."""
    found, above = {}, []
    for line in path.read_text(encoding="utf-8").splitlines():
        if comment := re.fullmatch(r"\s*# (.*)", line):
            above.append(comment[1])
            continue
        if one := re.match(r"\s*\"([^\"]+)\",(?:\s*# (.*))?$", line):
            try:
                requirement = Requirement(one[1])
            except InvalidRequirement:
                requirement = None
            if requirement:
                found[canonicalize_name(requirement.name)] = (requirement, one[2] or " ".join(above))
        above = []
    return found


def holders(name: str, version: str, ranges: dict[str, tuple[Requirement, str]]) -> str:
    """What forbids a version: the course's own range with its reason, else the installed packages that do; "" if nothing."""
    if name in ranges and version not in ranges[name][0].specifier:
        requirement, reason = ranges[name]
        return f"pyproject.toml: {requirement.specifier} ({reason or 'no reason given'})"
    held = set()
    for package in importlib.metadata.distributions():
        for line in package.requires or []:
            requirement = Requirement(line)
            wanted = not requirement.marker or requirement.marker.evaluate({"extra": ""})
            if canonicalize_name(requirement.name) == name and wanted and version not in requirement.specifier:
                held.add(f"{package.name} needs {requirement.specifier}")
    return ", ".join(sorted(held))


def main() -> None:
    rows = report()
    if not rows:
        print("Every pin is the newest release.")
        return
    rows = [{name: name for name in rows[0]}, *rows]
    widths = {name: max(len(row[name]) for row in rows) for name in ("package", "pinned", "newest", "age")}
    for row in rows:
        print("  ".join([*(row[name].ljust(width) for name, width in widths.items()), row["held by"]]).rstrip())
    print(f"\n{len(rows) - 1} pins of this system are not the newest release.\n{RENEW}")


if __name__ == "__main__":
    try:
        main()
    except CourseError as error:
        sys.exit(str(error))

"""Installs the course Spoken Digits from this folder, without a network: `python3 install.py [FOLDER]`.

FOLDER must be new (default: spokendigits in the home folder). Every file is compared with SHA256SUMS first. Then the
course, its notebooks, recordings and book are copied there, and all packages go into FOLDER/.venv.
"""

# Written so that any Python 3 can read it: an old one gets a clear line, too.
import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
WINDOWS = os.name == "nt"
UNFINISHED = ".installing"  # in a folder that a stopped run left


def fail(message):
    """Ends with one line."""
    sys.exit("error: " + message)


def sums():
    """The digest of each file of the pack, by its path."""
    path = HERE / "SHA256SUMS"
    if not path.is_file():
        fail(f"{path}: missing. This pack is not whole: copy it again.")
    digests = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        digests[name] = digest
    return digests


def check(names, digests):
    """Ends with the first file that is missing or not as it was packed."""
    done, whole = 0, sum((HERE / name).stat().st_size for name in names if (HERE / name).is_file())
    for name in names:
        path = HERE / name
        if not path.is_file():
            fail(f"{path}: missing. Copy the pack again.")
        found = hashlib.sha256()
        try:
            with path.open("rb") as file:
                for block in iter(lambda: file.read(1 << 20), b""):
                    found.update(block)
                    done += len(block)
                    if sys.stdout.isatty():
                        print(f"\rchecking the files: {100 * done // max(whole, 1)} %", end="", flush=True)
        except OSError as error:
            fail(f"{path}: cannot be read ({error.strerror}). Copy the pack again.")
        if found.hexdigest() != digests.get(name):
            fail(f"{path}: is not the file that was packed. Copy the pack again.")
    if sys.stdout.isatty():
        print()


def python_for_it(made_for):
    """The command of a Python that the wheels are for; ends if there is none on this computer."""
    machine, running = platform.machine().lower(), platform.python_version()
    here = [one for one in made_for if one["system"] == sys.platform and one["machine"].lower() == machine]
    tried = [([sys.executable], one) for one in here]
    tried += [(["py", "-" + one["python"]] if WINDOWS else ["python" + one["python"]], one) for one in here]
    for command, one in tried:
        if shutil.which(command[0]):
            ask = [*command, "-c", "import platform; print(platform.python_version())"]
            said = subprocess.run(ask, stdout=subprocess.PIPE).stdout.decode().strip()
            if said.startswith(one["python"] + ".") and patch(said) >= patch(one["oldest"]):
                return command
    names = "; ".join(one["name"] for one in made_for)
    fail(
        f"this is {platform.system()} {platform.machine()} with Python {running}, and the pack is for: {names}. "
        "Install that Python, or make a pack for this one."
    )


def patch(version):
    """The last number of a version such as 3.12.4."""
    return int("".join(filter(str.isdigit, version.split(".")[2])))


def install(target):
    """Fills the new folder `target`."""
    print("copying the course, the recordings and the book", flush=True)
    places = {"students": "students", "data": "data", "book": os.path.join("_build", "book", "html")}
    for path in (HERE / "course").iterdir():
        (shutil.copytree if path.is_dir() else shutil.copy)(str(path), str(target / path.name))
    for part, place in places.items():
        shutil.copytree(str(HERE / part), str(target / place))
    environment = target / ".venv"
    # Neither the user's settings of pip nor another Python's may mix in.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    run([sys.executable, "-m", "venv", "--without-pip", str(environment)], clean)
    python = str(environment / ("Scripts/python.exe" if WINDOWS else "bin/python"))
    print("installing the packages: this takes minutes", flush=True)
    wheels = HERE / "wheels"
    # pip runs from its own wheel: some systems' Python has none.
    pip = [python, str(next(wheels.glob("pip-*.whl")) / "pip"), "install", "--isolated", "-qq", "--no-index"]
    pip += ["--disable-pip-version-check", "--no-cache-dir", "--find-links", str(wheels)]
    run([*pip, "pip", "-r", str(HERE / "requirements.txt")], clean)
    run([*pip, "--no-deps", "--no-build-isolation", "-e", str(target)], clean)
    (environment / ".ready").touch()  # `make` takes the environment as it is


def run(command, environment):
    """Runs a command; ends if it fails, below what it said."""
    if subprocess.call(command, env=environment):
        fail("this step failed: " + " ".join(command))


def main():
    """Checks the pack, installs it, says how to start."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default=str(Path.home() / "spokendigits"), help="a new folder")
    target = Path(parser.parse_args().folder).expanduser().absolute()
    digests = sums()
    check(["pack.json"], digests)
    python = python_for_it(json.loads((HERE / "pack.json").read_text(encoding="utf-8"))["made_for"])
    if python != [sys.executable]:
        sys.exit(subprocess.call([*python, str(HERE / "install.py"), *sys.argv[1:]]))
    if target.exists() and (target / UNFINISHED).is_file():
        shutil.rmtree(str(target))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        fail(f"{target}: is there already. Name a new folder: install.py FOLDER.")
    print(f"checking {len(digests)} files", flush=True)
    check(list(digests), digests)
    for path in (HERE / "wheels").glob("*.whl"):
        if "wheels/" + path.name not in digests:
            fail(f"{path}: is not part of this pack. Delete it.")
    try:
        target.mkdir(parents=True, exist_ok=True)
        (target / UNFINISHED).touch()
        install(target)
        (target / UNFINISHED).unlink()
    except BaseException as error:
        shutil.rmtree(str(target), ignore_errors=True)
        if isinstance(error, KeyboardInterrupt):
            fail("stopped. Nothing was installed.")
        if isinstance(error, OSError):
            fail(f"{error.filename or target}: {error.strerror or error}. Nothing was installed.")
        raise
    start = ".venv\\Scripts\\" if WINDOWS else ".venv/bin/"
    print(f"\nInstalled in {target}. To check it, and to start JupyterLab:\n")
    print(f"  cd {target}\n  {start}spokendigits doctor\n  {start}jupyter lab --notebook-dir=. notebooks/01_data.ipynb")
    print("\nThe notebooks without solutions: students/01_data.ipynb")
    print("The book: {}".format((target / "_build" / "book" / "html" / "index.html").as_uri()))


if __name__ == "__main__":
    main()

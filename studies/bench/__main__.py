"""The command `python -m studies.bench`: every contestant in a fresh process, taking turns, and what came of it."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from spokendigits.errors import CourseError, check_names
from spokendigits.files import atomic_file, read_json, runs_folder, versions
from studies import bench_report as report
from studies.bench.contestants import FULL, QUICK, Sizes

# Nothing heavy is imported here: what a process inherits from the one that starts it counts as its own peak memory.

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PICTURE = ROOT / "book" / "results" / "bench.json", ROOT / "book" / "figures" / "bench.png"
PAGE_CACHE = "All recordings are read once before the first round, so every contestant reads them from memory."


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when every contestant came to its end, 2 when one did not or cannot start, 130 for Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m studies.bench", description="The course against its alternatives.")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every contestant (default: %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(report.COMPARISONS),
                        help=f"comparisons to run: {', '.join(report.COMPARISONS)} (default: all)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything works")
    options = parser.parse_args(arguments)
    try:
        bench(options.rounds, options.only, options.quick)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped. Nothing was written.", file=sys.stderr)
        return 130
    return 0


def bench(rounds: int, only: list[str], quick: bool) -> None:
    """Runs the comparisons named in `only` and writes their results and their figure.

    A full benchmark goes to the book; a part of it, or a quick one, only to the runs folder.
    Raises CourseError for the first contestant that fails; then nothing is written.
    """
    check_names(only, list(report.COMPARISONS), "unknown comparison")
    if sys.platform == "win32":
        raise CourseError(
            "Windows does not tell a process's peak memory this way: run the benchmark on Linux or macOS."
        )
    if rounds < 1:
        raise CourseError(f"--rounds {rounds}: at least one round is needed.")
    whole = set(only) == set(report.COMPARISONS) and not quick
    target, picture = (RESULTS, PICTURE) if whole else (runs_folder() / "bench.json", runs_folder() / "bench.png")
    sizes, started = QUICK if quick else FULL, time.perf_counter()
    names = [name for key, (_, names) in report.COMPARISONS.items() if key in only for name in names]
    # Memory hardly differs from time to time. It comes last: its files drive the recordings out of the page cache.
    once = [name for name in names if name.startswith("memory")]
    turns = [[name for name in names if name not in once]] * rounds + [once]
    with tempfile.TemporaryDirectory(prefix="spokendigits-bench-") as folder:
        files = Path(folder) / "recordings"
        if once:
            check_room(Path(folder), sizes)
        facts = contest("prepare", files, quick)
        print(f"{facts['device']}, {facts['precision']}; {facts['bytes'] / 2**20:,.0f} MB of recordings", flush=True)
        answers, load = [], []
        for number, turn in enumerate(filter(None, turns), 1):
            load.append(os.getloadavg()[0])
            answers.append({name: say(number, name, contest(name, files, quick)) for name in turn})
    from studies import results  # not before: it brings pandas

    ratios = report.ratios(answers)
    record = {
        **ratios,
        "quick": quick,
        "made": {
            "date": results.now(),
            "minutes": (time.perf_counter() - started) / 60,
            "device": facts["device"],
            "precision": facts["precision"],
            "cores": os.cpu_count(),
            "load": load,  # programs that ran beside it, at the start of each round
            "repeats": rounds,
            "sizes": vars(sizes),
            "recipe": sizes.recipe().to_dict(),  # its seed too
            "page_cache": PAGE_CACHE,
            "versions": {**versions(), **{name: version(name) for name in ("librosa", "soundfile", "soxr")}},
        },
        "medians": report.medians(answers),
        "rounds": answers,
    }
    fig = report.figure(record)
    with atomic_file(picture) as temporary:
        fig.savefig(temporary, bbox_inches="tight", metadata={"Software": None})
    results.write("bench", record, target)
    for name, ratio in ratios.items():
        print(f"{name:24} {ratio:.2f}")
    print(f"The results are in {target}, their figure is {picture}")


def contest(name: str, files: Path, quick: bool) -> dict:
    """Runs one contestant in a fresh process, in a home of its own that is gone afterwards; returns its answer."""
    os.sync()  # or what one contestant has written is put on the disk in the next one's time
    with tempfile.TemporaryDirectory(dir=files.parent) as home:
        answer = Path(home) / "answer.json"
        command = [sys.executable, "-m", "studies.bench.contestants", name, str(files), str(answer)]
        done = subprocess.run(
            command + ["--quick"] * quick,
            cwd=ROOT,
            env={**os.environ, "SPOKENDIGITS_HOME": home},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode:
            tail = "\n".join(done.stderr.strip().splitlines()[-8:])
            raise CourseError(f"{name} ended with status {done.returncode}; nothing was written. It said last:\n{tail}")
        return read_json(answer)


def say(number: int, name: str, answer: dict) -> dict:
    """Prints a line about an answer, and returns it."""
    print(
        f"round {number}  {name:20} {answer['seconds']:8.2f} s {answer['clips']:9,} clips "
        f"{report.rate(answer):9,.1f} clips/s {answer['peak_mb']:7,.0f} MB",
        flush=True,
    )
    return answer


def check_room(folder: Path, sizes: Sizes) -> None:
    """CourseError if the largest corpus's clips would not fit beside `folder`."""
    needed = 1.1 * sizes.memory * 100 * sizes.recipe().samples * 2
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CourseError(
            f"{folder.parent}: the memory comparison needs {needed / 1e9:.1f} GB for a while, and {free / 1e9:.1f} GB are free. "
            f"Make room, set TMPDIR to another folder, or leave it out with --only."
        )


if __name__ == "__main__":
    sys.exit(main())

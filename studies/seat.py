"""What one student's seat needs: memory, processor and disk of each notebook, measured (`make seat`, or `python -m studies.seat`).

Each notebook is run by papermill, all in order in one fresh home, as a student would run them. Meanwhile the kernel and
all processes that it starts are looked at, four times a second. JupyterLab itself is measured apart, with nothing open.
The results go to book/results/seat.json, from which the book shows them.
"""

import argparse
import contextlib
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import psutil

from spokendigits import devices, lanes
from spokendigits.errors import CourseError, check_names
from spokendigits.files import read_json, versions
from spokendigits.publish import runner
from studies import results

PAUSE = 0.25  # seconds between two looks


def memory(processes: list[psutil.Process]) -> int:
    """Bytes that the processes hold together.

    On Linux what several of them share is counted once (PSS), elsewhere once for each (RSS).
    """
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            info = process.memory_full_info()
            total += getattr(info, "pss", 0) or info.rss
    return total


def processor(processes: list[psutil.Process]) -> float:
    """Seconds of processor time that the processes took, with those of their children that have ended."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])  # own user and system, children's user and system
    return total


def size(folder: Path) -> int:
    """Bytes of all files below a folder, as they take room on the disk; a file with two names counts once."""
    sizes = {}
    for place, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                facts = os.lstat(os.path.join(place, name))
                sizes[facts.st_dev, facts.st_ino] = getattr(facts, "st_blocks", facts.st_size // 512) * 512
    return sum(sizes.values())


def measure(notebook: Path, home: Path) -> dict[str, float]:
    """Runs one notebook with `home` as the course's home; returns its peak memory in MB, its seconds of processor and of
    wall time, and the MB that it left on the disk.

    The kernel's processes count, papermill's own does not. Raises CourseError, with papermill's words, if a cell fails.
    """
    before, started = size(home), time.perf_counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        environment = {**os.environ, "SPOKENDIGITS_HOME": str(home)}
        target = home / "executed" / notebook.name
        target.parent.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "papermill", str(notebook), str(target), "--kernel", "python3"]
        command += ["--cwd", str(notebook.parent), "--no-progress-bar", "--log-level", "ERROR"]
        runner = psutil.Popen(command, env=environment, stdout=said, stderr=said)
        peak, seconds = 0, 0.0
        try:
            while runner.poll() is None:
                with contextlib.suppress(psutil.Error):
                    kernel = runner.children(recursive=True)
                    peak, seconds = max(peak, memory(kernel)), max(seconds, processor(kernel))
                time.sleep(PAUSE)
        finally:  # Ctrl-C ends the kernel, too
            left = [*runner.children(recursive=True), runner] if runner.poll() is None else []
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        if runner.returncode:
            said.seek(0)
            raise CourseError(f"{notebook.name} could not be measured:\n{said.read().strip()[-2000:]}")
    target.unlink()
    return {
        "peak_mb": peak / 1e6,
        "cpu_seconds": seconds,
        "seconds": time.perf_counter() - started,
        "disk_mb": (size(home) - before) / 1e6,
    }


@contextlib.contextmanager
def lab(folder: Path) -> Iterator[psutil.Popen]:
    """JupyterLab's server on `folder`, answering, with nothing open; ended afterwards."""
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"]
    command += [f"--notebook-dir={folder}", f"--ServerApp.info_file={folder / 'server.json'}"]
    environment = {**os.environ, "JUPYTER_TOKEN": token, "JUPYTER_CONFIG_DIR": str(folder)}
    with (folder / "log").open("w") as log:
        server = psutil.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield server
    finally:
        server.terminate()
        with contextlib.suppress(psutil.TimeoutExpired):
            server.wait(30)
        if server.is_running():
            server.kill()


def lab_mb() -> float:
    """MB of memory that JupyterLab's server holds half a minute after its start, with nothing open."""
    with tempfile.TemporaryDirectory(prefix="spokendigits-seat-") as folder, lab(Path(folder)) as server:
        for _ in range(30):
            time.sleep(1)
            if server.poll() is not None:
                raise CourseError(f"JupyterLab ended at once: {Path(folder, 'log').read_text()[-1000:]}")
        return memory([server, *server.children(recursive=True)]) / 1e6


def measure_all(only: list[str]) -> dict:
    """Measures the notebooks named in `only` (none: all) and stores what they need, beside what others needed before.

    Nothing is written if one of them fails.
    """
    paths = {path.stem: path for path in runner.notebooks(lanes.repository() / "notebooks")}
    check_names(only, list(paths), "unknown notebook")
    target = results.place("seat")
    known = read_json(target)["notebooks"] if only and target.is_file() else {}
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    print("JupyterLab …", end=" ", flush=True)
    server = lab_mb()
    print(f"{server:,.0f} MB", flush=True)
    measured = {}
    with tempfile.TemporaryDirectory(prefix="spokendigits-seat-") as home:
        for number, name in enumerate(only or paths, 1):
            print(f"[{number}/{len(only or paths)}] {name} …", end=" ", flush=True)
            needs = {key: round(value, 1) for key, value in measure(paths[name], Path(home)).items()}
            print(
                f"{needs['peak_mb']:,.0f} MB, {needs['cpu_seconds']:,.0f} s of processor, {needs['seconds']:,.0f} s, "
                f"{needs['disk_mb']:,.0f} MB of disk",
                flush=True,
            )
            measured[name] = needs
    record = {
        "notebooks": dict(sorted((known | measured).items())),
        "lab_mb": round(server, 1),
        "environment_mb": round(size(Path(sys.prefix)) / 1e6, 1),
        "made": {
            "date": results.now(),
            "device": devices.device_name(devices.processes().device),
            "cores": os.cpu_count(),
            "counted": "PSS" if sys.platform == "linux" else "RSS",
            "load": load,  # other programs that ran beside it, at the start
            "versions": {**versions(), **{name: version(name) for name in ("jupyterlab", "ipykernel", "papermill")}},
        },
    }
    results.write("seat", record)
    print(f"The results are in {target}")
    return record


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.seat", description="What one student's seat needs.")
    parser.add_argument("--only", nargs="+", default=[], metavar="NOTEBOOK",
                        help="measure these again, such as 06_real_voices (default: all, in order)")  # fmt: skip
    measure_all(parser.parse_args().only)


if __name__ == "__main__":
    try:
        main()
    except CourseError as error:
        sys.exit(str(error))

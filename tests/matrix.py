"""The README's two commands on every Python that is found here, and the main paths with the lowest versions allowed.

    make matrix                    every line
    make matrix ARGS="3.10 lowest"  some of them
    make matrix ARGS="--brief"      on each but the one that runs this, two lines at a time: demo and quick tests, and on
                                    the oldest and the newest those that take seconds, too

A line gets an environment of its own, `build/matrix/NAME`, and a log beside it. Browser tests run in `make test` alone:
they test pages, which are the same on every Python.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "matrix"
PROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
CONSTRAINTS = (ROOT / "tests" / "constraints.txt").read_text("utf-8")
DEMO = threading.Lock()
NEWEST = 15  # the highest minor version that is looked for
LOWEST_OF = ("dependencies", "eda", "values", "local")  # the lists whose lowest versions are tried, and ipykernel's
WITH_SECONDS = 'quick -m "not slow"'
KERNEL_TESTS = "test -q -n 2 tests/kernel tests/exchange/test_following.py tests/exchange/test_vscode.py"


@dataclass(frozen=True)
class Line:
    """One environment: its name, the Python that it is made with, the pins, and what is run in it.

    judges: what else the tests want, in the Makefile's words; without it, those that need it are skipped.
    """

    name: str
    python: str
    targets: tuple[str, ...]
    pins: Path = ROOT / "tests" / "constraints.txt"
    judges: str = ",judges"

    def run(self) -> tuple[bool, float]:
        """Whether all of it passed, and how many seconds it took. What it printed is in the log."""
        began = time.monotonic()
        # What was said to the make that runs this is not for the ones that it runs.
        own = ("MAKE", "MFLAGS", "ARGS", "VENV", "PYTHON", "PIN", "JUDGES")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        with self.log.open("w", encoding="utf-8") as log:
            for target in self.targets:
                command = ["make", *target.split(" ", 1)[:1], f"VENV={BUILD / self.name}", f"PYTHON={self.python}"]
                command += [
                    f"PIN={self.pins}",
                    f"JUDGES={self.judges}",
                    *[f"ARGS={more}" for more in target.split(" ", 1)[1:]],
                ]
                # Two local models at once would take many times as long as one after the other.
                with DEMO if target == "demo" else nullcontext():
                    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
                if done.returncode:
                    return False, time.monotonic() - began
        return True, time.monotonic() - began

    @property
    def log(self) -> Path:
        return BUILD / f"{self.name}.log"

    @property
    def counted(self) -> str:
        """pytest's closing line."""
        found = re.findall(r"\d+ (?:passed|failed|error).*", self.log.read_text("utf-8"))
        return found[-1] if found else "no test ran"


def floor() -> int:
    """The minor version of `requires-python`."""
    found = re.search(r'requires-python = ">=3\.(\d+)"', PROJECT)
    assert found
    return int(found[1])


def pythons() -> dict[str, str]:
    """The Pythons that run here, by version: on PATH, of pyenv, of uv."""
    found: dict[str, str] = {}
    roots = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))]
    for minor in range(floor(), NEWEST + 1):
        version = f"3.{minor}"
        candidates = [shutil.which(f"python{version}"), sys.executable]
        candidates += [str(path) for root in roots for path in sorted(root.glob(f"versions/{version}.*/bin/python"))]
        if uv := shutil.which("uv"):
            command = [uv, "python", "find", "--no-python-downloads", version]
            candidates.append(subprocess.run(command, capture_output=True, text=True).stdout.strip())
        working = [path for path in candidates if path and version_of(path) == version]
        if working:
            found[version] = working[0]
    return found


def version_of(python: str) -> str:
    """`3.12`, or "" for one that does not run, as a shim of pyenv for a version that is not chosen."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def lowest_pins() -> Path:
    """The constraints with the lowest version of each dependency that a user installs."""
    lists = [re.search(rf"^{name} = \[(.*?)\]", PROJECT, re.M | re.S) for name in LOWEST_OF]
    lowest = dict(pair for found in lists if found for pair in re.findall(r'"([a-z0-9_-]+)>=([0-9.]+)"', found[1]))
    lowest |= dict(re.findall(r'"(ipykernel)>=([0-9.]+)"', PROJECT))
    others = [line for line in CONSTRAINTS.splitlines() if re.split(r"[=\s]", line)[0] not in lowest]
    # These ask for newer versions of them than we do.
    others = [line for line in others if not line.startswith(("pydantic-core", "altair"))]
    path = BUILD / "lowest.txt"
    path.write_text("\n".join([*others, *(f"{name}=={version}" for name, version in lowest.items()), ""]), "utf-8")
    return path


def lines(found: dict[str, str], *, is_brief: bool) -> list[Line]:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"  # on which `make test` runs everything
    chosen = {version: python for version, python in found.items() if not is_brief or version != own}
    oldest, newest = min(found, key=minor_of), max(found, key=minor_of)
    tests = {version: WITH_SECONDS if version in (oldest, newest) else "quick" for version in chosen}
    if not is_brief:
        tests = dict.fromkeys(chosen, "test -q --ignore=tests/browser")
    whole = [Line(version, python, ("demo", tests[version])) for version, python in chosen.items()]
    lowest = ("demo", WITH_SECONDS) if is_brief else ("demo", WITH_SECONDS, KERNEL_TESTS)
    return [*whole, Line("lowest", found[oldest], lowest, lowest_pins(), judges="")]


def minor_of(version: str) -> int:
    return int(version.split(".")[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brief", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    found = pythons()
    missing = [f"3.{minor}" for minor in range(floor(), NEWEST + 1) if f"3.{minor}" not in found]
    print(f"found: {', '.join(found)} · not found: {', '.join(missing) or 'none'}", flush=True)
    chosen = [line for line in lines(found, is_brief=options.brief) if not options.names or line.name in options.names]
    failed = 0
    with ThreadPoolExecutor(2 if options.brief else 1) as pool:
        for line, (is_good, took_s) in zip(chosen, pool.map(Line.run, chosen), strict=True):
            failed += not is_good
            what = " and ".join(f"make {target.split()[0]}" for target in line.targets)
            print(
                f"{'ok    ' if is_good else 'FAILED'} {line.name:7} {what}: {line.counted} · {took_s:.0f} s", flush=True
            )
            if not is_good:
                print("".join(line.log.open(encoding="utf-8").readlines()[-60:]))
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(min(main(), 1))

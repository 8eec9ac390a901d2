"""Build the package, look into what was built, install it in empty environments, and run a cell with it.

make release-check
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "build" / "dist"
EXTRAS = ("", "eda", "values", "local", "lab")
PRIVATE = re.compile(rb"sk-[A-Za-z0-9]{8,}|/home/|/root/|/work/|/tmp/")

CELL = """
import sys; sys.path[:0] = [sys.argv[1]]
from wire_server import WireServer, canonical
from IPython.core.interactiveshell import InteractiveShell
import comet_magic
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "comet_magic")
with WireServer(canonical()) as server:
    comet_magic.CometSettings.instance().endpoint = server.url
    shell.run_cell("%%claude --alone\\nWhat is 2+2?").raise_error()
assert comet_magic.last.text == "4", comet_magic.last
assert sys.argv[1] not in comet_magic.__file__, comet_magic.__file__
"""
USES = {
    "eda": "import pandas; assert 'DataFrame' in comet_magic.describe.describe(pandas.DataFrame({'a': [1]}), limits)[0].kind",
    "values": "assert comet_magic.ask('x', as_=int) == 4",
}


def run(*command: object, **options: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return str(done.stdout)


def build() -> tuple[Path, Path]:
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST, ROOT)
    run(sys.executable, "-m", "twine", "check", "--strict", *DIST.iterdir())
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    return wheel, sdist


def look_into(wheel: Path, sdist: Path) -> None:
    """What a user gets is all of the package, and nothing of this machine."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("comet_magic/")}
        contents = {name: archive.read(name) for name in archive.namelist()}
    tracked = run("git", "ls-files", "comet_magic", cwd=ROOT).split()
    if names != set(tracked):
        sys.exit(f"the wheel has not what is tracked: {sorted(names ^ set(tracked))}")
    share = "data/share/jupyter/labextensions/comet_magic/"
    front_end = {name.split(share)[1] for name in contents if share in name}
    tracked = [name.removeprefix("labextension/") for name in run("git", "ls-files", "labextension", cwd=ROOT).split()]
    if front_end != set(tracked):
        sys.exit(f"the wheel has not the front end's files: {sorted(front_end ^ set(tracked))}")
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            if member.isfile() and (file := archive.extractfile(member)):
                contents[member.name] = file.read()
    for needed in (
        "hatch_build.py",
        "static/prose.js",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "tests/wire_server.py",
        "docs/explanation/architecture.md",
    ):
        if not any(name.endswith(needed) for name in contents):
            sys.exit(f"{needed} is in no archive")
    for name, content in contents.items():
        if "/tests/" not in name and (hit := PRIVATE.search(content)):
            sys.exit(f"{name} holds {hit[0]!r}")


def try_in_an_empty_environment(wheel: Path, extra: str) -> None:
    place = ROOT / "build" / "release" / (extra or "base")
    shutil.rmtree(place, ignore_errors=True)
    uv = shutil.which("uv")
    python = place / "bin" / "python"
    run(*([uv, "venv", "-q", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]), place)
    pip = [uv, "pip", "install", "-q", "--python", python] if uv else [python, "-m", "pip", "install", "-q"]
    run(*pip, "-c", ROOT / "tests" / "constraints.txt", f"{wheel}[{extra}]" if extra else wheel)
    if extra == "eda":
        run(*pip, "-c", ROOT / "tests" / "constraints.txt", "pandas")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("COMET", "PYTHON"))}
    home = place / "home"
    home.mkdir()
    environment = {**clean, "HOME": str(home), "IPYTHONDIR": str(home), "COMETAPI_KEY": "none-0123456789"}
    use = (
        f"\nwith WireServer(canonical()) as server:\n    comet_magic.CometSettings.instance().endpoint = server.url\n    from comet_magic.describe.description import Limits; limits = Limits()\n    {USES[extra]}"
        if extra in USES
        else ""
    )
    run(python, "-c", CELL + use, ROOT / "tests", cwd=home, env=environment)
    if extra == "lab":
        listed = subprocess.run(
            [python.parent / "jupyter-labextension", "list"], capture_output=True, text=True, cwd=home, env=environment
        )
        if not re.search(r"comet_magic v\S+ .*enabled.*OK.*\(python, comet_magic\)", listed.stdout + listed.stderr):
            sys.exit(f"JupyterLab does not know the extension:\n{listed.stdout}{listed.stderr}")


def main() -> None:
    wheel, sdist = build()
    look_into(wheel, sdist)
    for extra in EXTRAS:
        try_in_an_empty_environment(wheel, extra)
        print(
            f"ok: {wheel.name}{f'[{extra}]' if extra else ''} installs in an empty environment and runs a cell",
            flush=True,
        )


if __name__ == "__main__":
    main()

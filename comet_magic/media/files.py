"""Files of what was made: named after the words of the prompt and a number, never in the place of another."""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
from collections.abc import Iterator
from hashlib import sha256
from itertools import count
from pathlib import Path

from ..errors import ConfigError
from ..settings import CometSettings
from ..store.media import StoredFile
from ..text import expanded, shown_path, user_folder

WORDS, LONGEST = 6, 48  # of a prompt, in a file's name: words, and characters
CHUNK = 1 << 20


def media_folder(settings: CometSettings, notebook: str) -> Path:
    """Return the folder for what is made: the setting's, else one beside the notebook, else in the data folder.

    notebook: its path, "" where it is not known.
    """
    beside = expanded(notebook).parent if notebook else None
    if settings.media_folder:
        folder = expanded(settings.media_folder)
        return folder if folder.is_absolute() else (beside or Path.cwd()) / folder
    if notebook and beside is not None and beside.is_dir():
        return beside / f"{expanded(notebook).stem}_media"
    return user_folder("data") / "media"


def stem_of(prompt: str, otherwise: str) -> str:
    """Return the words of a prompt as a file's name may have them. otherwise: where there are none."""
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFC", prompt).lower())[:WORDS]
    stem = ""
    for word in words:
        if len(f"{stem}-{word}".encode()) > LONGEST:
            break
        stem = f"{stem}-{word}" if stem else word
    return stem or otherwise


def free_paths(folder: Path, stem: str, extension: str) -> Iterator[Path]:
    """Yield the names that are free, with the next number each time."""
    for number in count(1):
        path = folder / f"{stem}-{number}{extension}"
        if not path.exists():
            yield path


def make_folder(folder: Path) -> None:
    """Create the folder, and check that it can be written, before anything is paid for. Raises: ConfigError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.urandom(4).hex()}.part"
        probe.write_bytes(b"")
        probe.unlink()
    except (OSError, ValueError) as error:
        refusal = unwritable(folder, error)
        refusal.hint = f"nothing was sent; {refusal.hint}"
        raise refusal from None


def unwritable(folder: Path | str, error: OSError | ValueError) -> ConfigError:
    what = f"nothing can be written into {shown_path(folder)}: {getattr(error, 'strerror', None) or error}"
    return ConfigError(what, "set CometSettings.media_folder to another folder")


def part_path(folder: Path, job: str, number: int, session: str) -> Path:
    """Return where a result is while it comes; each kernel has a place of its own."""
    return folder / f".{job[:12]}-{number}-{session[:6]}.part"


def drop_parts(folder: Path, job: str) -> None:
    """Remove what kernels that were killed have left of a job."""
    for part in folder.glob(f".{job[:12]}-*.part"):
        with contextlib.suppress(OSError):
            part.unlink()


def digest_of(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def put_in_place(part: Path, path: Path) -> bool:
    """Give a part its name. Returns: False where there is a file of that name by now; the part stays then."""
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        if path.exists():
            return False
        os.rename(part, path)
        return True
    with contextlib.suppress(OSError):
        part.unlink()
    return True


def find_file(file: StoredFile, job: str, folder: Path) -> Path | None:
    """Return where a file is: where it was put, or under its name in the folder of now; None where it has gone.

    A file that stopped short of its name, as when a kernel was killed, gets it now.
    """
    places = dict.fromkeys([Path(file.path), folder / Path(file.path).name])
    for path in places:
        if _is(path, file):
            return path
    for part in Path(file.path).parent.glob(f".{job[:12]}-{file.number}-*.part"):
        with contextlib.suppress(OSError):
            if _is(part, file) and put_in_place(part, Path(file.path)):
                return Path(file.path)
    return None


def find_changed(file: StoredFile) -> Path | None:
    """Return the path of a file that was changed since; None where there is none."""
    path = Path(file.path)
    return path if path.is_file() else None


def _is(path: Path, file: StoredFile) -> bool:
    with contextlib.suppress(OSError):
        return path.stat().st_size == file.size and digest_of(path) == file.sha256
    return False

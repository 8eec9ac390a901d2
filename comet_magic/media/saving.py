"""The files of one job: each result is fetched into a part, written down, and only then given its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..keys import without_key
from ..store import media as media_store
from ..store.database import Store
from ..store.media import StoredFile, StoredJob
from .file_type import FileType, described, file_type
from .files import digest_of, found_again, free_paths, part_path, put_in_place, stem_of
from .order import MUSIC, NOUNS
from .service import Result
from .wire import Gone, Wire


class JobFiles:
    """The files of a job. most: bytes of a result that are fetched."""

    def __init__(self, job: StoredJob, store: Store, wire: Wire, most: int) -> None:
        self._job, self._store, self._wire, self._most = job, store, wire, most
        self._folder = Path(job.folder)

    def save(self, number: int, result: Result, wanted: str, fetching: Callable[[int], None]) -> Path:
        """Return the file of a result; it is fetched where it is not there yet.

        number: of the result, from 1 on.        wanted: "image", "audio" or "video".
        fetching: is told how many bytes have come.        Raises: CometError where it is not that, or not to be had.
        """
        job = self._job
        former = self._known(number)
        if former and (path := found_again(former, job.id, self._folder)):
            return path
        if result.problem:
            raise Gone(result.problem)
        part = self._part(number)
        if result.content:
            part.write_bytes(result.content)
            first = result.content[:64]
        else:
            first = self._wire.fetch(result.address, part, self._most, fetching)
        kind = file_type(first, wanted)
        if kind is None or kind.kind != wanted:
            part.unlink(missing_ok=True)
            what = described(first) if kind is None else kind.mime
            raise Gone(f"what came is {what}, and no {NOUNS[job.kind][0]}", f"its job is {job.id[:8]}")
        return self._named(part, number, kind, without_key(result.caption, self._wire.client.endpoint.key), former)

    def save_text(self, text: str, kind: FileType) -> Path:
        """Return the file of a text, which is the only result of its job."""
        part = self._part(1)
        part.write_text(text, "utf-8")
        return self._named(part, 1, kind, "", self._known(1))

    def _known(self, number: int) -> StoredFile | None:
        files = media_store.files_of(self._store, self._job.id)
        return next((file for file in files if file.number == number), None)

    def _part(self, number: int) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return part_path(self._folder, self._job.id, number)

    def _named(self, part: Path, number: int, kind: FileType, caption: str, former: StoredFile | None) -> Path:
        """Give a part its name, written down before it has it: a kernel that is killed leaves one file, or none."""
        job = self._job
        size, digest = part.stat().st_size, digest_of(part)
        stem = stem_of(caption if job.kind == MUSIC and caption else job.prompt, job.kind)
        paths = free_paths(self._folder, stem, kind.extension)
        path = Path(former.path) if former and not Path(former.path).exists() else next(paths)
        while True:
            file = StoredFile(number, str(path.resolve()), kind.mime, size, digest, caption)
            media_store.put_file(self._store, job.id, file)
            if put_in_place(part, path):
                return path
            path = next(paths)

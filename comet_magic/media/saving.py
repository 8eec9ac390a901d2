"""The files of one job: each result is fetched into a part, written down, and only then given its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..keys import without_key
from ..store import media as media_store
from ..store.database import Store
from ..store.media import StoredFile, StoredJob
from .file_type import FileType, described, file_type
from .files import digest_of, drop_parts, find_file, free_paths, part_path, put_in_place, stem_of, unwritable
from .order import MUSIC, NOUNS
from .replies import decoded, is_data
from .service import Result
from .wire import ResultUnavailable, Wire

UNKNOWN = FileType("application/octet-stream", ".bin")


class JobFiles:
    """The files of a job. session: of this kernel.        most: bytes of a result that are fetched."""

    def __init__(self, job: StoredJob, store: Store, wire: Wire, session: str, most: int) -> None:
        self._job, self._store, self._wire, self._session, self._most = job, store, wire, session, most
        self._folder = Path(job.folder)

    def save(self, number: int, result: Result, expected: str, fetching: Callable[[int], None]) -> Path:
        """Return the file of a result; it is fetched where it is not there yet.

        number: of the result, from 1 on.        expected: "image", "audio" or "video".
        fetching: is told how many bytes have come.
        Raises: CometError where it is not that, is not available, or cannot be written.
        """
        former = self._known(number)
        if former and (path := find_file(former, self._job.id, self._folder)):
            return path
        if result.problem:
            raise ResultUnavailable(result.problem)
        try:
            return self._written(number, result, expected, fetching, former)
        except OSError as error:
            now = self._known(number)
            if now and (path := find_file(now, self._job.id, self._folder)):  # another kernel was quicker
                return path
            raise unwritable(self._folder, error) from None

    def _written(
        self, number: int, result: Result, expected: str, fetching: Callable[[int], None], former: StoredFile | None
    ) -> Path:  # fmt: skip
        part = self._part(number)
        if content := result.content or (decoded(result.address) if is_data(result.address) else b""):
            part.write_bytes(content)
            first = content[:64]
        else:
            first = self._wire.fetch(result.address, part, self._most, fetching)
        kind = file_type(first, expected)
        if kind is None or kind.kind != expected:
            what = f"what came is {described(first) if kind is None else kind.mime}, and no {NOUNS[self._job.kind][0]}"
            if not content:
                part.unlink(missing_ok=True)
                raise ResultUnavailable(what)
            path = self._named(part, number, kind or UNKNOWN, "", former)  # it was paid for, and is nowhere else
            raise ResultUnavailable(f"{what}; it is in {path}")
        return self._named(part, number, kind, without_key(result.caption, self._wire.client.endpoint.key), former)

    def save_text(self, text: str, kind: FileType) -> Path:
        """Return the file of a text, which is the only result of its job. Raises: CometError."""
        try:
            part = self._part(1)
            part.write_text(text, "utf-8")
            return self._named(part, 1, kind, "", self._known(1))
        except OSError as error:
            raise unwritable(self._folder, error) from None

    def end(self) -> None:
        """Remove what is left of parts."""
        drop_parts(self._folder, self._job.id)

    def _known(self, number: int) -> StoredFile | None:
        files = media_store.files_of(self._store, self._job.id)
        return next((file for file in files if file.number == number), None)

    def _part(self, number: int) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return part_path(self._folder, self._job.id, number, self._session)

    def _named(self, part: Path, number: int, kind: FileType, caption: str, former: StoredFile | None) -> Path:
        """Give a part its name, written down before it has it: a kernel that is killed leaves one file, or none."""
        job = self._job
        size, digest = part.stat().st_size, digest_of(part)
        stem = stem_of(caption if job.kind == MUSIC and caption else job.prompt, job.kind)
        paths = (
            path for path in free_paths(self._folder, stem, kind.extension)
            if not media_store.is_claimed(self._store, str(path.resolve()))
        )  # fmt: skip
        path = Path(former.path) if former and not Path(former.path).exists() else next(paths)
        while True:
            file = StoredFile(number, str(path.resolve()), kind.mime, size, digest, caption)
            goal = Path(media_store.claim_path(self._store, job, file).path)
            if part.exists() and put_in_place(part, goal):
                return goal
            if goal.exists() and digest_of(goal) == digest:  # another kernel was quicker
                part.unlink(missing_ok=True)
                return goal
            media_store.drop_files(self._store, job.id, [number])
            path = next(paths)

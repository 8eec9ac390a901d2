"""`%claude_forget`: what this package keeps on this computer, and taking all of it away."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from .. import keys, origins
from ..errors import ConfigError
from ..exchange import session
from ..named_tuple import NamedTuple
from ..render.table import Table
from ..settings import CometSettings
from ..store import conversations
from ..store import media as media_store
from ..store import rows as row_store
from ..store.database import Store
from ..text import many, shown_path, user_folder
from . import profile
from .stdin import is_yes

STAYS = (
    "not deleted: the outputs in your notebooks, the pictures, sound and film beside them, .env files, environment"
    " variables, ipython_config.py, stores that other notebooks name, and the package itself: pip uninstall comet_magic"
)


class Kept(NamedTuple):
    """what, where: in words.        delete: takes it away; a keyring may raise anything."""

    what: str
    where: str
    delete: Callable[[], object]


def forget(settings: CometSettings, folder: Path, *, everything: bool) -> Table:
    """Return what is kept; with `everything` what was deleted, once the user has said yes.

    folder: of the IPython profile. Raises: ConfigError where nobody can answer, or something cannot be deleted.
    """
    kept = list(_kept(settings, folder))
    rows = [(one.what, one.where) for one in kept]
    if not everything:
        notes = ["%claude_forget --everything deletes all of this, after asking you" if kept else "nothing is kept"]
        return Table("Kept on this computer", ("what", "where"), rows, [*notes, STAYS])
    if not kept:
        return Table("", (), [], ["nothing is kept", STAYS])
    lines = [f"  {what}: {where}" for what, where in rows]
    answer = is_yes("\n".join(["This will be deleted:", *lines, "Delete all of it? [y/N] "]))
    if answer is None:
        raise ConfigError("nobody can answer here, so nothing was deleted", "run it in a notebook or a terminal")
    if not answer:
        return Table("", (), [], ["nothing was deleted"])
    session.reset()
    for one in kept:
        try:
            one.delete()
        except Exception as error:  # keyrings raise what they like
            raise ConfigError(f"{one.where} could not be deleted: {error}", "delete it by hand") from error
    return Table("Deleted", ("what", "where"), rows, [STAYS])


def _kept(settings: CometSettings, folder: Path) -> Iterator[Kept]:
    for path in dict.fromkeys([session.usual_store_path(), session.store_path(settings)]):
        # A file of somebody else's, which the setting names by mistake, is not ours to delete.
        if path.is_file() and (store := Store(path, read_only=True)).behind is not None:
            count, of_rows = len(conversations.names(store)), row_store.count_rows(store)
            made = media_store.count_files(store)
            store.close()
            size = f"{sum(file.stat().st_size for file in _store_files(path)) / 1e6:.1f} MB"
            replies = f"replies ({of_rows:,} of them to rows of tables)" if of_rows else "replies"
            jobs = f", {many(made, 'file')} of pictures and sound by name" if made else ""
            what = f"{many(count, 'conversation')}, {replies} and their costs{jobs}, {size}"
            yield Kept(what, shown_path(path), partial(_delete_store, path))
        elif path.is_file() and path == session.usual_store_path():  # where nobody else's file is
            yield Kept("a store that this version cannot read", shown_path(path), partial(_delete_store, path))
        for copy in sorted(path.parent.glob(f"{path.name}.v*")) if path == session.usual_store_path() else ():
            yield Kept("a copy of the store, of an older version", shown_path(copy), copy.unlink)
    saved: dict[str, object] = {}
    with contextlib.suppress(ConfigError):  # a file that cannot be understood is the user's to repair
        saved = profile.saved(folder)
    if saved:
        names = ", ".join(f"{name} = {value!r}" for name, value in saved.items())
        where = shown_path(profile.path_in(folder))
        yield Kept(f"settings for all notebooks: {names}", where, lambda: profile.undo(settings, folder))
    for source, delete in keys.kept_places():
        yield Kept("an API key", source, delete)
    if origins.file().is_file():
        yield Kept("addresses that your key may go to", shown_path(origins.file()), origins.file().unlink)
    for one in dict.fromkeys([user_folder("data"), user_folder("config")]):
        if one.is_dir() and not one.is_symlink():
            yield Kept("a folder, if nothing else is in it", shown_path(one), partial(_remove_if_empty, one))


def _store_files(path: Path) -> list[Path]:
    return [file for ending in ("", "-wal", "-shm") if (file := path.with_name(path.name + ending)).exists()]


def _delete_store(path: Path) -> None:
    for file in _store_files(path):
        file.unlink(missing_ok=True)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()

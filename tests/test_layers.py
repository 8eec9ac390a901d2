"""Imports go down only, inside a folder they make no circle, and each library has one door.

The picture is in docs/explanation/architecture.md.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import selection

import comet_magic

PACKAGE = Path(comet_magic.__file__).parent
# From the top down. A file or folder imports from the rows below its own, and from its own folder.
ROWS = [
    {"__init__"},
    {"mapping", "generating"},
    {"asking", "embedding"},
    {"notebook"},
    {"conversations", "rows", "media"},
    {"formats"},
    {"exchange"},
    {"tools"},
    {"api", "describe"},
    {"output", "settings"},
    {"store", "keys", "origins"},
    {"render", "errors", "environment"},
    {"messages"},
    {"suggestions", "redaction", "background", "queues", "docstrings"},
    {"text", "_version", "strict_json", "named_tuple"},
]
ROW = {room: number for number, rooms in enumerate(ROWS) for room in rooms}
# A message shows itself, and knows its code blocks; the two modules are imported when that is asked for.
SANCTIONED = {("messages.message", "render.message"), ("messages.message", "render.markdown")}
DOORS = {
    "requests": {"api.transport"},
    "urllib3": {"api.transport"},
    "ipywidgets": {"notebook.panel", "notebook.controls"},
    "IPython": {"notebook.magics", "notebook.media_magics", "notebook.extension"},
    "traitlets": {"settings", "notebook.panel"},
    "sqlite3": {"store.connection", "store.database"},
    "xllamacpp": {"api.local"},
    "keyring": {"keys"},
    "narwhals": {"describe.frames"},
    "dask": {"rows.cluster"},
    "distributed": {"rows.cluster"},
    "pydantic": {"output.schema"},
    "jsonschema": {"output.schema"},
    "duckdb": {"tools.sql"},
    "PIL": {"describe.images"},
    "soundfile": {"media.media"},
    "tinytag": {"media.durations"},
}
# The test that holds a module which has no test file of its own name.
HELD_BY = {
    "api/test_bounds.py": "api.unpacking",
    "api/test_protocol.py": "api.client api.retry api.sse api.transport messages.message messages.tool_call messages.usage render.message errors",
    "api/test_events.py": "api.sse strict_json messages.reasoning",
    "test_settings.py": "api.endpoint environment notebook.profile",
    "model/test_local.py": "api.local",
    "api/test_dialect.py": "exchange.offered store.offered",
    "test_embedding.py": "api.embeddings store.embeddings",
    "exchange/test_several.py": "notebook.side_by_side",
    "test_mapping.py": "rows.backend rows.send rows.columns rows.engine rows.estimate rows.failures rows.job rows.live rows.lookup rows.money rows.prompt rows.result rows.source store.rows",
    "rows/test_run.py": "rows.pool rows.writer",
    "notebook/test_row_runs.py": "rows.progress notebook.rows_display",
    "media/test_images.py": "generating media.image_jobs media.model media.prompt media.orders media.service media.media media.gemini media.replies",
    "media/test_audio.py": "media.speech media.transcripts media.wav media.file_type media.durations",
    "media/test_jobs.py": "media.music media.video media.wire media.running media.money media.files media.dry_run notebook.jobs_table",
    "media/test_machine.py": "media.run media.results media.order media.saving store.media",
    "notebook/test_media_magics.py": "notebook.media_cells notebook.media_display notebook.media_flags notebook.status_display media.shown",
    "api/test_chat.py": "api.reply_body api.portable api.chat_body api.chat_events api.inline_pictures api.responses_body api.responses_events",
    "test_asking.py": "conversations exchange.session notebook.cell",
    "describe/test_registry.py": "describe.dependencies describe.description describe.files describe.images describe.objects messages.image_size messages.tokens redaction",
    "describe/test_tables.py": "describe.columns describe.correlations describe.frames describe.scalars describe.texts",
    "describe/test_values.py": "describe.own_words describe.records",
    "describe/test_question.py": "describe.template exchange.dry_run suggestions",
    "notebook/test_fix.py": "describe.tracebacks",
    "exchange/test_usage.py": "api.billing exchange.budget messages.prices messages.models notebook.usage_report store.ledger render.table",
    "exchange/test_plan.py": "exchange.journal exchange.run",
    "formats/test_read.py": "formats.call_text formats.claude_ai formats.librechat formats.open_webui formats.source formats.wire",
    "formats/test_mending.py": "formats.blocks formats.pairing formats.turns",
    "formats/test_programs.py": "formats.chatgpt formats.markdown",
    "tools/test_server_tools.py": "tools.mcp_client tools.names tools.server_process tools.server_result tools.server_schema tools.servers",
    "tools/test_runner.py": "exchange.loop notebook.stdin tools.functions tools.timeouts",
    "output/test_typed.py": "exchange.negotiate notebook.named output.dataframes output.modes store.accepted",
    "notebook/test_executions.py": "notebook.execution_text",
    "notebook/test_magics.py": "docstrings notebook.extension notebook.flags",
    "notebook/test_completion.py": "notebook.flag_completion",
    "notebook/test_panel.py": "notebook.controls notebook.settings_table",
    "exchange/test_turns.py": "notebook.history_magic notebook.history_table notebook.stale_notes",
    "notebook/test_next_cell.py": "store.code_cells",
    "render/test_markdown.py": "render.emphasis render.inline text",
    "exchange/test_forecast.py": "describe.changes notebook.forecast",
    "exchange/test_following.py": "notebook.deleted_cells notebook.saved_notebook store.left_out store.turn_order",
    "store/test_database.py": "store.connection store.conversations store.requests store.schema store.turns",
}
MODULES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}


def imports(name: str, source: str) -> tuple[set[str], set[str]]:
    """(modules of ours, libraries) that a file imports when it runs; what only the type checker reads does not count."""
    ours, theirs = set(), set()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            ours |= set(_modules_of(name, node))
        elif isinstance(node, ast.ImportFrom):
            theirs.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            theirs |= {alias.name.split(".")[0] for alias in node.names}
    return ours, theirs


def _modules_of(name: str, node: ast.ImportFrom) -> Iterator[str]:
    """The modules behind `from ..store import turns` and `from .message import Message`."""
    folder = name.split(".")[: -node.level]
    base = [*folder, *(node.module.split(".") if node.module else [])]
    if ".".join(base) in MODULES:
        yield ".".join(base)
        return
    for alias in node.names:
        inner = ".".join([*base, alias.name])
        yield inner if inner in MODULES else ".".join([*base, "__init__"])


def goes_up(name: str, other: str) -> bool:
    room, below = name.split(".")[0], other.split(".")[0]
    return room != below and ROW[below] <= ROW[room]


def test_every_file_and_folder_has_its_row() -> None:
    assert {name.split(".")[0] for name in MODULES} == set(ROW)


def test_imports_go_down() -> None:
    upward = {
        (name, other)
        for name, path in MODULES.items()
        for other in imports(name, path.read_text())[0]
        if goes_up(name, other)
    }
    assert upward == SANCTIONED


def test_every_module_has_its_test() -> None:
    """tests/store/test_turns.py would be the test of store/turns.py; where there is none, it says which one is."""
    tests = Path(__file__).parent
    held = {module: tests / file for file, modules in HELD_BY.items() for module in modules.split()}
    for name in MODULES:
        *folders, module = name.split(".")
        own = tests.joinpath(*folders, f"test_{module}.py")
        if module not in ("__init__", "_version"):
            assert own.is_file() != (name in held), name
            assert held.get(name, own).is_file(), name
    assert set(held) <= set(MODULES)


def test_a_folder_lists_what_others_import() -> None:
    used: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        for other in imports(name, path.read_text())[0]:
            folder, _, module = other.partition(".")
            if module not in ("", "__init__") and name.split(".")[0] != folder:
                used.setdefault(folder, set()).add(module)
    for home in comet_magic._MODULES.values():
        folder, _, module = home.partition(".")
        used.setdefault(folder, set()).add(module)
    for folder in {name.split(".")[0] for name in MODULES if "." in name}:
        listed = set(import_module(f"comet_magic.{folder}").__all__)
        functions = {"describe": {"describe", "register", "unregister"}, "tools": {"query", "tool"}}.get(folder, set())
        assert listed - functions == used[folder] - functions, folder


def test_a_wrong_import_is_caught() -> None:
    for name, line, wrong in (
        ("store.turns", "from ..exchange import session", "exchange.session"),
        ("messages.usage", "def f():\n    from ..render.message import to_plain", "render.message"),
        ("text", "from .errors import CometError", "errors"),
        ("describe.tables", "from ..api.client import Client", "api.client"),
        ("output.modes", "from .. import conversations", "conversations"),
        ("api.events", "from ..tools import functions", "tools.functions"),
    ):
        (found,) = imports(name, line)[0]
        assert found == wrong
        assert goes_up(name, found)
    assert not goes_up("exchange.session", "store.turns")
    assert not goes_up("exchange.session", "exchange.cells")


def test_there_is_no_circle() -> None:
    remaining = {
        name: {other for other in imports(name, path.read_text())[0] if (name, other) not in SANCTIONED} - {name}
        for name, path in MODULES.items()
    }
    while free := [name for name, others in remaining.items() if not (others & set(remaining))]:
        for name in free:
            del remaining[name]
    assert remaining == {}


def test_one_door_per_library() -> None:
    wrong = [
        (name, library)
        for name, path in MODULES.items()
        for library in imports(name, path.read_text())[1]
        if name not in DOORS.get(library, {name})
    ]
    assert wrong == []


def test_the_environment_is_read_in_two_files_only() -> None:
    assert {name for name, path in MODULES.items() if "os.environ" in path.read_text()} == {"environment", "settings"}


def test_all_is_sorted_and_there() -> None:
    assert comet_magic.__all__ == sorted(comet_magic.__all__)
    assert [name for name in comet_magic.__all__ if not hasattr(comet_magic, name)] == []
    assert set(comet_magic.__all__) <= set(dir(comet_magic))


def test_public_names_stay_what_they_are_whatever_is_imported() -> None:
    """A module takes the place of a function of its name as soon as anything imports it; so none has such a name."""
    for name in MODULES:
        import_module("comet_magic" if name == "__init__" else f"comet_magic.{name.removesuffix('.__init__')}")
    from comet_magic.tools import query, tool

    assert callable(comet_magic.ask)
    assert callable(comet_magic.panel)
    assert comet_magic.tool is tool
    assert comet_magic.tools.query is query
    assert callable(comet_magic.describe.describe)
    assert callable(comet_magic.describe.register)


def test_loading_imports_nothing_heavy() -> None:
    code = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance(); shell.run_line_magic('load_ext', 'comet_magic')\n"
        "print(sorted({'requests', 'urllib3', 'ipywidgets', 'comet_magic.api.client'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_quick_leaves_out_is_there() -> None:
    """A name that is left in a list when its test is renamed would let the test slip back into `make quick`."""
    files = {path.name: path.read_text("utf-8") for path in Path(__file__).parent.rglob("test_*.py")}
    assert (selection.SLOW_FILES | selection.SECONDS_FILES) - set(files) == set()
    whole = "\n".join(files.values())
    assert [name for name in selection.SECONDS_TESTS if f"def {name}(" not in whole] == []

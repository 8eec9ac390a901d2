"""The key: found where it should be, and seen nowhere."""

from __future__ import annotations

import logging
import pickle
import stat
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from cells import Ran
from wire_server import RESET, WireServer, canonical, delta, reply, start, stream

from comet_magic.api.client import connect
from comet_magic.api.endpoint import find_endpoint
from comet_magic.errors import CometError, ConfigError
from comet_magic.keys import KEY_NAMES, Key, _colab_secret, find_kept_key, keep, key_file
from comet_magic.notebook.stdin import ask_for_key
from comet_magic.settings import CometSettings
from comet_magic.text import clean

SECRET = "sk-test-SECRETSECRET-f3a9"


def found(settings: CometSettings) -> str:
    key = settings.key
    return key.source if key and key.reveal() == SECRET else f"{key!r}"


def test_the_key_is_found_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = CometSettings.instance()
    assert settings.key is None
    keep(Key(SECRET, "x"))
    assert found(settings) == str(key_file())
    Path(".env").write_text(f"# mine\nOTHER=1\nexport COMETAPI_KEY='{SECRET}' # c\n")
    assert found(settings) == ".env"
    monkeypatch.setenv("COMETAPI_API_KEY", SECRET)
    assert found(settings) == "COMETAPI_API_KEY"
    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    assert found(settings) == "COMETAPI_KEY"
    settings.use_key(Key(SECRET, "what you typed"))
    assert found(settings) == "what you typed"


def test_a_line_without_a_value_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", "")
    Path(".env").write_text(f"\ufeffCOMETAPI_KEY=\nAWS_SECRET={SECRET}\n")
    assert CometSettings.instance().key is None
    Path(".env").write_text(f"\ufeffCOMETAPI_KEY = {SECRET} # mine\n")
    assert found(CometSettings.instance()) == ".env"


def test_a_key_that_the_endpoint_sends_back_is_hidden(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    echo = {"error": {"message": f"bad header Bearer {SECRET}"}}
    streamed = b'data: {"error":{"message":"no %s"}}\n\n' % SECRET.encode()
    for script in (reply(echo, status=401), reply("", status=307, location=f"http://x.y/{SECRET}?k={SECRET}"), reply(echo),
                   stream(start(), delta("Hel"), streamed)):  # fmt: skip
        with WireServer(script) as server:
            CometSettings.instance().endpoint = server.url
            ran = Ran(shell, "%%claude\nhi")
        assert isinstance(ran.error, CometError)
        assert "SECRETSECRET" not in f"{ran.printed}{ran.outputs}{ran.error!r}{ran.error.partial!r}"
        assert "…f3a9" in str(ran.error)


def test_http_clients_debugging_does_not_print_the_key(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import http.client

    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    with WireServer(canonical()) as server:
        CometSettings.instance().endpoint = server.url
        assert "SECRETSECRET" not in Ran(shell, "%%claude\nhi").printed


def test_colabs_secrets_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    userdata = types.SimpleNamespace(get={"COMETAPI_KEY": SECRET}.__getitem__)
    monkeypatch.setitem(sys.modules, "google.colab", types.SimpleNamespace(userdata=userdata))  # type: ignore[arg-type]
    _colab_secret.cache_clear()
    assert find_kept_key().source == "Colab's secret COMETAPI_KEY"  # type: ignore[union-attr]
    _colab_secret.cache_clear()


def test_colab_is_asked_once_for_each_secret_and_a_failure_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def get(name: str) -> str:
        asked.append(name)
        raise TimeoutError(name)

    userdata = types.SimpleNamespace(get=get)
    monkeypatch.setitem(sys.modules, "google.colab", types.SimpleNamespace(userdata=userdata))  # type: ignore[arg-type]
    _colab_secret.cache_clear()
    assert [find_kept_key() for _ in range(3)] == [None] * 3
    assert sorted(asked) == sorted(KEY_NAMES)
    _colab_secret.cache_clear()


def test_a_real_keyring_is_used_and_a_false_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoKeyring:
        priority = 0

    class Vault:
        priority = 5

    kept: dict[tuple[str, str], str] = {}
    backend: Any = Vault()
    keyring = types.ModuleType("keyring")
    keyring.__dict__.update(
        get_keyring=lambda: backend,
        get_password=lambda service, name: kept.get((service, name)),
        set_password=lambda service, name, secret: kept.update({(service, name): secret}),
        errors=types.SimpleNamespace(KeyringError=RuntimeError),
    )
    fail = types.ModuleType("keyring.backends.fail")
    fail.Keyring = NoKeyring  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    monkeypatch.setitem(sys.modules, "keyring.backends", types.ModuleType("keyring.backends"))
    monkeypatch.setitem(sys.modules, "keyring.backends.fail", fail)
    assert keep(Key(SECRET, "x")) == "the system keyring"
    assert found(CometSettings.instance()) == "the system keyring"
    backend = NoKeyring()
    assert keep(Key(SECRET, "x")) == str(key_file())


def test_the_key_file_is_for_its_owner_alone() -> None:
    keep(Key("sk-older-0123456789", "x"))
    keep(Key(SECRET, "x"))
    assert stat.S_IMODE(key_file().stat().st_mode) == 0o600
    assert key_file().read_text() == SECRET


def test_a_key_shows_four_characters_at_most() -> None:
    key = Key(SECRET, "COMETAPI_KEY")
    assert repr(key) == str(key) == f"{key}" == "Key(…f3a9 from COMETAPI_KEY)"
    assert repr(Key("sk-short", "x")) == "Key(… from x)"
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(AttributeError):
        _ = key.__dict__


@pytest.fixture
def failing(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A shell with a key, whose endpoint resets connections, then rejects keys."""
    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    echo = {"error": {"message": "Invalid token (request id: 1)"}}
    with WireServer([RESET], reply(echo, status=401)) as server:
        shell.run_line_magic("config", f"CometSettings.endpoint = {server.url!r}")
        shell.run_line_magic("config", "CometSettings.retries = 0")
        yield shell


@pytest.mark.parametrize("mode", ["Context", "Verbose", "Plain", "Minimal"])
def test_no_traceback_has_the_key(failing: Any, mode: str) -> None:
    failing.run_line_magic("xmode", mode)
    for _ in range(2):
        ran = Ran(failing, "%%claude\nhi")
        assert isinstance(ran.error, CometError)
        assert "SECRETSECRET" not in ran.printed
        assert len("".join(ran.error._render_traceback_()).splitlines()) <= 2
        assert "SECRETSECRET" not in frames(ran.error)


def frames(error: BaseException | None) -> str:
    """Every local variable that %debug could show, of the error and of those it came from."""
    seen = []
    while error is not None:
        trace = error.__traceback__.tb_next if error.__traceback__ else None  # the first frame is the test's own
        while trace:
            seen += [
                f"{name}={value!r}" for name, value in trace.tb_frame.f_locals.items() if "monkeypatch" not in name
            ]
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
    return "\n".join(line for line in seen if not line.startswith(("environ=", "shell=")))


def test_nothing_prints_the_key(shell: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    with WireServer(canonical()) as server:
        shell.run_line_magic("config", f"CometSettings.endpoint = {server.url!r}")
        settings = CometSettings.instance()
        client = connect(settings)
        ran = Ran(shell, "%%claude\nhi")
        assert SECRET in str(server.received[0].headers)
    shown = [
        ran.markdown, ran.plain, ran.printed, str(ran.outputs), caplog.text, repr(client), repr(settings), repr(vars(settings)),
        Ran(shell, "%config CometSettings").printed, Ran(shell, "%config").printed, Ran(shell, "%env").printed,
        repr(settings.key), str(settings.trait_values()), repr(client.endpoint), f"{client.endpoint}",
    ]  # fmt: skip
    assert "SECRETSECRET" not in "\n".join(shown)
    with pytest.raises(TypeError):
        pickle.dumps(client.endpoint)


def test_a_key_on_the_line_is_refused(shell: Any) -> None:
    ran = Ran(shell, f"%claude_key {SECRET}")
    assert isinstance(ran.error, ConfigError)
    assert "SECRETSECRET" not in str(ran.error)


def test_a_key_is_typed_unseen_and_kept_if_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comet_magic.notebook.stdin.getpass", lambda prompt: f" {SECRET}\n")
    monkeypatch.setattr("builtins.input", lambda prompt: "y")
    settings = CometSettings.instance()
    said = ask_for_key(settings)
    assert said == f"key …f3a9: in use, and saved in {key_file()}"
    assert found(settings) == "what you typed"
    monkeypatch.setattr("builtins.input", lambda prompt: "")
    assert ask_for_key(settings) == "key …f3a9: in use until the kernel ends"


def test_where_nobody_can_type_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(prompt: str) -> str:
        raise type("StdinNotImplementedError", (NotImplementedError,), {})

    monkeypatch.setattr("comet_magic.notebook.stdin.getpass", refuse)
    with pytest.raises(ConfigError, match="COMETAPI_KEY"):
        ask_for_key(CometSettings.instance())


def test_a_typed_key_that_cannot_be_used_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comet_magic.notebook.stdin.getpass", lambda prompt: " ".join(["sk-test", "hidden" * 2]))
    with pytest.raises(ConfigError) as caught:
        ask_for_key(CometSettings.instance())
    assert "hiddenhidden" not in f"{caught.value}{frames(caught.value)}"


HALVES = [{"type": "text", "text": f"key {SECRET[:12]}"}, {"type": "text", "text": f"{SECRET[12:]} ok"}]
THOUGHT = [{"type": "thinking", "thinking": SECRET, "signature": "s"}, {"type": "text", "text": "a"}]
FIELDS: list[dict[str, Any]] = [
    {"content": [{"type": "text", "text": f"your key is {SECRET}"}]}, {"content": HALVES}, {"content": THOUGHT},
    {"content": [{"type": "text", "text": "a"}, {"type": SECRET}]}, {"model": SECRET}, {"id": SECRET},
    {"stop_reason": SECRET}, {"stop_reason": "stop_sequence", "stop_sequence": SECRET},
    {"stop_reason": "refusal", "content": [], "stop_details": {"explanation": SECRET}}, {"headers": SECRET},
]  # fmt: skip


@pytest.mark.parametrize("fields", FIELDS)
def test_a_key_that_is_said_back_is_hidden_in_every_field(
    shell: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fields: dict[str, Any]
) -> None:
    import comet_magic

    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    whole = {"type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": "end_turn", **fields}
    headers = {"request_id": fields["headers"]} if "headers" in fields else {}
    with WireServer(reply(whole, **headers)) as server:
        CometSettings.instance().endpoint = server.url
        ran = Ran(shell, "%%claude\nhi")
    seen = ran.printed + "".join(f"{output.data} {output.metadata}" for output in ran.outputs)
    seen += f"{comet_magic.last!r} {comet_magic.last.text}"  # type: ignore[attr-defined]
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("store.sqlite*"))
    assert SECRET not in seen
    assert SECRET.encode() not in stored
    assert "f3a9" in seen or "……" in seen  # its hint, or those of its halves, show that it stood there


@pytest.mark.skipif(sys.platform == "win32", reason="the environment is text there")
def test_a_secret_that_is_no_utf8_stops_no_cell_and_is_not_shown(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    os.environb[b"DB_PASSWORD"] = b"caf\xe9-HUNTERHUNTER"
    try:
        with WireServer(canonical("4")) as server:
            CometSettings.instance().endpoint = server.url
            shell.user_ns["x"] = "it is caf\ufffd-HUNTERHUNTER"
            Ran(shell, "%xmode Verbose")
            ran = Ran(shell, "%%claude\nvalue {{x}}")
            failed = Ran(shell, "%%claude\nvalue {{x}} {{1 / 0}}")
            Ran(shell, "%xmode Context")
            assert ran.error is None
            assert "HUNTERHUNTER" not in server.received[-1].body.decode()
            assert "HUNTERHUNTER" not in failed.printed
            assert SECRET not in failed.printed
    finally:
        del os.environ["DB_PASSWORD"]


def test_an_error_holds_nothing_that_controls_a_terminal() -> None:
    error = CometError("a\x1b]52;c;x\x07\u202eb", "c\x1b[2J")
    error.hint += "\x1b[31m"
    assert "\x1b" not in f"{error}{error!r}{error.args}{error._render_traceback_()}"
    assert len(str(CometError("x" * 10**7))) < 10_000


def test_literal_fills_nothing_in(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    with WireServer(canonical("4")) as server:
        CometSettings.instance().endpoint = server.url
        shell.run_cell_magic("claude", "--literal", "data with {{secret}} and {{1 +")
        assert server.received[-1].json["messages"][-1]["content"] == "data with {{secret}} and {{1 +"


@pytest.mark.parametrize(
    "text", [f"{SECRET[:8]}\u200b{SECRET[8:]}", "\u2060".join(SECRET), f"x{SECRET[:17]}", f"…{SECRET[-17:]} y"]
)
def test_a_key_in_disguise_or_in_part_is_hidden(text: str) -> None:
    hidden = clean(Key(SECRET, "x").hide_in(text))
    assert SECRET not in hidden
    assert SECRET[:15] not in hidden
    assert SECRET[-15:] not in hidden


def test_a_key_in_the_escapes_of_a_value_is_hidden(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    escaped = SECRET.replace("S", "\\u0053")
    with WireServer(canonical(f'{{"a": "{escaped}"}}')) as server:
        CometSettings.instance().endpoint = server.url
        Ran(shell, "%%claude --as dict[str,str] -o made\nhi")
    assert shell.user_ns["made"]["a"] != SECRET
    assert SECRET[:15] not in str(shell.user_ns["made"])


@pytest.mark.parametrize(
    "cell",
    [
        f"%%claude -o {SECRET}\nhi", f"%%claude -t {SECRET}\nhi", f"%%claude --as {SECRET}\nhi", f"%%claude --tools {SECRET}\nhi",
        f"%%claude --effort {SECRET}\nhi", f"%%claude --{SECRET}\nhi", f"%%claude\n{{{{ {SECRET.replace('-', '_')} }}}}",
        f"%claude_usage {SECRET}", f"%%claude -c {SECRET}\nhi", f"%claude_history -c {SECRET}",
    ],
)  # fmt: skip
def test_a_key_in_another_field_is_not_said_again(
    shell: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cell: str
) -> None:
    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    with WireServer(canonical()) as server:
        CometSettings.instance().endpoint = server.url
        ran = Ran(shell, cell)
    assert ran.error is not None
    assert SECRET not in f"{ran.printed}{ran.error}{ran.error!r}{[output.data for output in ran.outputs]}"
    assert not [path for path in tmp_path.rglob("store.sqlite*") if SECRET.encode() in path.read_bytes()]


def test_a_key_among_the_models_or_in_a_header_is_hidden(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    with WireServer(reply({"data": [{"id": SECRET}]})) as server:
        CometSettings.instance().endpoint = server.url
        assert SECRET not in Ran(shell, "%claude_models").printed
        server.scripts[:] = [reply(b"\x00\x01", content_encoding=f"gzip, {SECRET}")]
        error = Ran(shell, "%%claude\nhi").error
        assert SECRET.lower() not in str(error).lower()
        server.scripts[:] = [reply({"error": {"message": "x" * 485 + SECRET}}, status=400)]
        assert SECRET[:15] not in str(Ran(shell, "%%claude\nhi").error)


def test_a_screen_that_is_painted_by_itself_shows_no_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from comet_magic.notebook.display import Terminal

    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    CometSettings.instance()
    Terminal(show_usage=True).paint(f"your key is {SECRET} and")
    assert "SECRETSECRET" not in capsys.readouterr().out


def test_a_dotenv_is_looked_for_beside_the_notebook_wherever_cd_went(
    shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project, elsewhere):
        folder.mkdir()
    (project / ".env").write_text("COMETAPI_KEY=sk-test-0123456789abcdef\n")
    monkeypatch.chdir(project)
    shell.run_line_magic("reload_ext", "comet_magic")
    monkeypatch.chdir(elsewhere)
    assert CometSettings.instance().key is not None
    shell.run_line_magic("reload_ext", "comet_magic")
    assert CometSettings.instance().key is None
    monkeypatch.setenv("JPY_SESSION_NAME", str(project / "notebook.ipynb"))
    shell.run_line_magic("reload_ext", "comet_magic")
    assert CometSettings.instance().key is not None


def test_a_session_that_had_a_key_does_not_change_to_the_local_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("comet_magic.api.local.is_installed", lambda name: True)
    settings = CometSettings.instance()
    assert find_endpoint(settings).local_model is not None
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    assert find_endpoint(settings).local_model is None
    monkeypatch.delenv("COMETAPI_KEY")
    with pytest.raises(ConfigError, match="does not change to the local model by itself"):
        find_endpoint(settings)
    settings.endpoint = "local"
    assert find_endpoint(settings).local_model is not None

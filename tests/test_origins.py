"""A key goes where its owner wants it to go, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cells import Ran
from wire_server import WireServer, canonical

from comet_magic import settings as settings_module
from comet_magic.api.endpoint import find_endpoint
from comet_magic.api.local import _start
from comet_magic.errors import ConfigError
from comet_magic.keys import Key, find_kept_key, keep, key_file
from comet_magic.origins import base_url, is_loopback, origin_of
from comet_magic.settings import CometSettings

SECRET = "sk-test-SECRETSECRET-f3a9"
OTHER = "https://gateway.example"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> CometSettings:
    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    return CometSettings.instance()


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        *[(host, True) for host in ("localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]")],
        *[
            (host, False)
            for host in ("localhost.evil.example", "127.evil.example", "localhostess", "[::1]x", "10.0.0.1")
        ],
    ],
)
def test_loopback_is_the_whole_address(host: str, is_ours: bool) -> None:
    assert is_loopback(host) is is_ours


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Gateway.example/v1", "https://gateway.example"), ("https://a:443/x", "https://a"),
        ("http://127.0.0.1:80", "http://127.0.0.1"), ("http://[::1]:9/", "http://[::1]:9"), ("https://a:8", "https://a:8"),
    ],
)  # fmt: skip
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "address", ["localhost.evil.example", "127.evil.example", "localhostess.example", "api.example"]
)
def test_a_name_without_a_scheme_is_encrypted_unless_it_is_this_machine(address: str) -> None:
    assert base_url(address) == f"https://{address}"
    assert base_url("localhost:9") == "http://localhost:9"


@pytest.mark.parametrize("address", ["http://192.0.2.7:9", "http://gateway.example", "http://127.evil.example"])
def test_http_is_for_this_machine_unless_the_user_says_otherwise(settings: CometSettings, address: str) -> None:
    with pytest.raises(Exception, match="not encrypted"):
        settings.endpoint = address
    settings.allow_http = True
    settings.endpoint = address


def test_a_key_goes_to_cometapi_and_to_this_machine_without_asking(settings: CometSettings) -> None:
    for endpoint in ("cometapi", "https://api.cometapi.com/v1", "http://127.0.0.1:9", "http://[::1]:9", "localhost:9"):
        settings.endpoint = endpoint
        found = find_endpoint(settings)
        assert found.key is not None
        assert found.key.reveal() == SECRET
        assert found.direct is ("cometapi" not in endpoint)


@pytest.mark.parametrize("how", ["endpoint", "variable"])
def test_another_origin_is_asked_about_once(settings: CometSettings, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    if how == "endpoint":
        settings.endpoint = OTHER
    else:
        monkeypatch.setenv("COMETAPI_BASE_URL", OTHER)
    with pytest.raises(ConfigError, match=f"nothing was sent: {OTHER} is not CometAPI.*nobody could allow it here"):
        find_endpoint(settings)
    asked: list[str] = []
    settings.ask_about_origin = lambda origin: bool(asked.append(origin))
    for _ in range(3):
        with pytest.raises(ConfigError, match="you did not allow it"):
            find_endpoint(settings)
    assert asked == [OTHER]
    settings._refused_origins.clear()  # as when the endpoint is set anew
    settings.ask_about_origin = lambda origin: not asked.append(origin)
    assert find_endpoint(settings).key is not None
    settings.ask_about_origin = lambda origin: None
    assert find_endpoint(settings).key is not None  # remembered
    assert asked == [OTHER, OTHER]
    settings.endpoint = f"{OTHER}:8443"
    with pytest.raises(ConfigError, match="8443"):
        find_endpoint(settings)


def test_the_user_is_asked_in_the_cell(settings: CometSettings, shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text="": asked.append(text) or "n")
    CometSettings.instance().endpoint = OTHER
    ran = Ran(shell, "%%claude\nhi")
    assert isinstance(ran.error, ConfigError)
    assert OTHER in asked[0]
    assert SECRET not in asked[0]


def test_what_the_users_own_environment_names_is_theirs(
    settings: CometSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = {"COMETAPI_BASE_URL": OTHER, "COMET_MAGIC_ENDPOINT": "https://second.example"}
    monkeypatch.setattr(settings_module, "environment_at_start", lambda: start)
    monkeypatch.setattr(settings_module, "_origins_at_start", settings_module._origins_at_start.__wrapped__)
    for endpoint in (OTHER, "https://second.example"):
        settings.endpoint = endpoint
        assert find_endpoint(settings).key is not None


def test_what_a_notebook_sets_later_is_not_the_users_own() -> None:
    code = "import os; os.environ['X_LATER'] = '1'; from comet_magic.environment import environment_at_start as start; "
    code += "print('PATH' in start(), 'X_LATER' in start())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False" if Path("/proc/self/environ").exists() else "True"]


def test_a_typed_key_is_for_the_endpoint_that_is_set(settings: CometSettings) -> None:
    settings.endpoint = OTHER
    settings.use_key(Key("sk-of-the-gateway-000001", "what you typed"))
    found = find_endpoint(settings)
    assert found.key is not None
    assert found.key.reveal() == "sk-of-the-gateway-000001"
    settings.endpoint = "cometapi"
    assert settings.key is not None
    assert settings.key.reveal() == SECRET


def test_an_endpoints_own_key_goes_there_and_not_to_cometapi(
    settings: CometSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMET_MAGIC_ENDPOINT_KEY", "sk-of-the-gateway-000001")
    settings.endpoint = "http://127.0.0.1:9"
    assert settings.key is not None
    assert settings.key.source == "COMET_MAGIC_ENDPOINT_KEY"
    settings.endpoint = "auto"
    assert settings.key.source == "COMETAPI_KEY"


@pytest.mark.parametrize("name", ["COMET_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"])
def test_another_companys_key_is_never_read(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, SECRET)
    Path(".env").write_text(f"{name}={SECRET}\n")
    settings = CometSettings.instance()
    assert settings.key is None
    settings.endpoint = "cometapi"
    with pytest.raises(ConfigError, match="Comet ML" if name == "COMET_API_KEY" else r"no API key was found\n"):
        find_endpoint(settings)


@pytest.mark.parametrize(
    "text",
    [
        SECRET, f"https://user:{SECRET}@host:99999x", f"https://user:{SECRET}@[bad", f"//user:{SECRET}@host/",
        f"https://api.cometapi.com/?key={SECRET}", "https://u:hunter2@h:1x",
    ],
)  # fmt: skip
def test_a_secret_in_the_wrong_field_is_refused_and_not_said_again(shell: Any, text: str) -> None:
    settings = CometSettings.instance()
    for field in ("endpoint", "model") if text == SECRET else ("endpoint",):
        before = getattr(settings, field)
        ran = Ran(shell, f"%config CometSettings.{field} = {text!r}")
        assert getattr(settings, field) == before
        assert "SECRETSECRET" not in ran.printed + str(ran.error)
        assert "hunter2" not in ran.printed + str(ran.error)
    ran = Ran(shell, f"%%claude -m {SECRET}\nhi")
    assert "SECRETSECRET" not in ran.printed + str(ran.error)


def test_the_usage_line_names_a_host_that_is_not_the_usual_one(
    settings: CometSettings, shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WireServer(canonical("4")) as server:
        CometSettings.instance().endpoint = server.url
        assert Ran(shell, "%%claude\nhi").plain.endswith(f" · sent to {server.url[7:]}")


def test_a_server_on_this_machine_is_asked_past_any_proxy(
    settings: CometSettings, shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WireServer(canonical("4")) as server, WireServer(canonical("5")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        CometSettings.instance().endpoint = server.url
        assert Ran(shell, "%%claude\nhi").plain.startswith("4")
        assert proxy.received == []


def test_a_dotenv_beats_a_kept_key_and_says_so_once(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(Key("sk-test-the-kept-one-0001", "x"))
    Path(".env").write_text(f"COMETAPI_KEY={SECRET}\n")
    with WireServer(canonical("4")) as server:
        CometSettings.instance().endpoint = server.url
        first, second = (Ran(shell, "%%claude\nhi").plain for _ in range(2))
    assert f"the key is that of .env here, not the one in {key_file()}" in first
    assert ".env" not in second


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_key_file_of_any_encoding_is_read(encoding: str) -> None:
    key_file().parent.mkdir(parents=True, exist_ok=True)
    key_file().write_bytes(SECRET.encode(encoding))
    key = find_kept_key()
    assert key is not None
    assert key.reveal() == SECRET


def test_a_key_file_that_is_no_text_is_an_error_without_the_key() -> None:
    key_file().parent.mkdir(parents=True, exist_ok=True)
    key_file().write_bytes(SECRET.encode() + b"\xe9\n")
    with pytest.raises(ConfigError, match="plain ASCII") as raised:
        find_endpoint(CometSettings.instance())
    assert "SECRETSECRET" not in repr(raised.value) + str(raised.value)


def test_a_dotenv_that_is_no_small_file_is_none(tmp_path: Path) -> None:
    import os

    os.mkfifo(".env")
    assert find_kept_key() is None
    os.unlink(".env")
    Path(".env").symlink_to("/dev/zero")
    assert find_kept_key() is None


def test_the_embedded_server_does_not_inherit_the_key(
    settings: CometSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\nread request\nenv > {tmp_path}/env\necho no server\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    with pytest.raises(ConfigError, match="no server"):
        _start(tmp_path / "model.gguf", "m", toy=False)
    assert "PATH=" in (tmp_path / "env").read_text()
    assert SECRET not in (tmp_path / "env").read_text()


def test_an_embedded_server_that_ends_at_once_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with pytest.raises(ConfigError, match="its server ended"):
        _start(tmp_path / "model.gguf", "m", toy=False)

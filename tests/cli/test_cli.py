"""The ``ryze`` command: usage, exit codes, and no traceback for anything a user can cause."""

import base64
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

import ryze
from ryze import cli, client, store
from ryze.errors import StartError
from ryze.events.event import EVENT_TYPES
from ryze.settings import Settings, all_settings

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in an empty directory, with no RYZE_ variables except those given."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("RYZE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(cli.serve, "setproctitle", lambda _title: None)

    def invoke(*arguments: str, input: str | bytes | None = None, **variables: str) -> Result:
        result = CliRunner().invoke(cli.cli, arguments, input=input, env=variables)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


def assert_failed(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code
    assert result.stdout == ""
    for word in words:
        assert word in result.stderr
    if code == 1:
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1


# --- The group ---


@pytest.mark.parametrize(
    "command",
    [
        "",
        "serve",
        "account",
        "account create",
        "account list",
        "account rotate",
        "key",
        "key rotate",
        "listen",
        "publish",
        "simulate",
        "demo",
    ],
)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_help(run: Run, command: str, flag: str) -> None:
    result = run(*command.split(), flag)
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


def test_version_is_printed(run: Run) -> None:
    assert run("--version").stdout == f"ryze {ryze.__version__}\n"


@pytest.mark.parametrize("arguments", [["unknown"], ["--unknown"], ["listen"], ["serve", "extra"]])
def test_wrong_usage_is_exit_code_2(run: Run, arguments: list[str]) -> None:
    assert_failed(run(*arguments), 2, "Usage: ")


# --- ryze serve ---


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Replace the server by one that records the settings it was started with."""
    started: list[Settings] = []
    app: Any = ModuleType("ryze.app")
    app.run = lambda settings, _notify_socket: started.append(settings)
    monkeypatch.setitem(sys.modules, "ryze.app", app)
    return started


def fail_with(error: BaseException) -> Callable[..., None]:
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    return fail


def test_every_setting_is_a_flag_with_help_variable_and_default(run: Run) -> None:
    text = " ".join(run("serve", "--help").stdout.split())
    for row in all_settings():
        default = f"; default: {row.default}" if row.default else ""
        assert f"{row.flag} {row.metavar} {row.help} [env: {row.variable}{default}]" in text


def test_flags_win_over_variables(run: Run, served: list[Settings]) -> None:
    result = run("serve", "--port", "0", RYZE_PORT="9000", RYZE_HOST="::1")
    assert (result.exit_code, result.output) == (0, "")
    assert served == [Settings(host="::1", port=0)]


@pytest.mark.parametrize("arguments", [[], ["--global-rate-limit", ""]])
def test_empty_rate_limit_is_off(run: Run, served: list[Settings], arguments: list[str]) -> None:
    assert run("serve", *arguments, RYZE_GLOBAL_RATE_LIMIT="").exit_code == 0
    assert served[0].global_rate_limit is None


def test_invalid_setting_is_reported_in_one_line(run: Run, served: list[Settings]) -> None:
    result = run("serve", RYZE_PORT="http")
    assert_failed(result, 2, "Error: RYZE_PORT='http': expected a port")
    assert result.stderr.count("\n") == 1
    assert served == []


def test_secret_flag_is_masked_in_errors(run: Run) -> None:
    result = run("serve", "--account-token", "my secret")
    assert_failed(result, 2, "RYZE_ACCOUNT_TOKEN='***'")
    assert "my secret" not in result.output


def test_server_that_cannot_start_reports_the_reason(run: Run, served: list[Settings]) -> None:
    sys.modules["ryze.app"].run = fail_with(StartError("port 8080 is taken"))  # type: ignore[attr-defined]
    assert_failed(run("serve"), 1, "Error: port 8080 is taken\n")


def test_process_title_is_set_before_anything_can_fail(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []
    monkeypatch.setattr(cli.serve, "setproctitle", titles.append)
    run("serve", "--account-token", "secret", "--port", "wrong")
    assert titles == ["ryze serve"]


# --- ryze account ---


def accounts_in(directory: Path) -> dict[str, store.Account]:
    async def read() -> list[store.Account]:
        async with store.open_database(f"sqlite:///{directory}/ryze.db") as database:
            return await database.read(store.select_accounts)

    return {account.name: account for account in trio.run(read)}


def test_account_is_created_and_its_token_printed_once(run: Run, tmp_path: Path) -> None:
    result = run("account", "create", RYZE_DATA_DIR=str(tmp_path))
    assert result.exit_code == 0
    token = result.stdout.removesuffix("\n")
    assert token not in result.stderr
    assert accounts_in(tmp_path)["default"].token_hash == store.hash_token(token)
    assert accounts_in(tmp_path)["default"].max_instances is None


def test_accounts_are_listed_with_name_and_limit(run: Run, tmp_path: Path) -> None:
    where = ["--data-dir", str(tmp_path)]
    run("account", "create", *where)
    run("account", "create", "shop", "--max-instances", "3", *where)
    result = run("account", "list", *where)
    assert (result.exit_code, result.stdout) == (0, "1\tdefault\tno limit\n2\tshop\t3\n")


def test_duplicate_account_name_is_rejected(run: Run) -> None:
    run("account", "create", "shop")
    assert_failed(run("account", "create", "shop"), 1, "account 'shop' exists already")


@pytest.mark.parametrize("name", ["", " ", "two\nlines"])
def test_account_name_must_be_printable(run: Run, name: str) -> None:
    assert_failed(run("account", "create", name), 2, "printable characters")


def test_rotate_replaces_the_token(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ryze.db"
    old = run("account", "create", "shop", RYZE_DATABASE_URL=url).stdout.strip()
    new = run("account", "rotate", "shop", "--database-url", url).stdout.strip()
    assert new != old
    assert accounts_in(tmp_path)["shop"].token_hash == store.hash_token(new)


def test_unknown_account_cannot_be_rotated(run: Run) -> None:
    run("account", "create")
    assert_failed(run("account", "rotate", "shop"), 1, "there is no account 'shop'")


def test_database_that_cannot_be_opened_is_reported(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert_failed(run("account", "list", "--data-dir", f"{tmp_path}/file"), 1, "no database")
    assert_failed(run("account", "create", "--data-dir", f"{tmp_path}/file"), 1, "cannot open")


@pytest.mark.parametrize("command", [["list"], ["rotate", "default"]])
def test_only_account_create_creates_a_database(
    run: Run, tmp_path: Path, command: list[str]
) -> None:
    result = run("account", *command, "--data-dir", f"{tmp_path}/mistyped")
    assert_failed(result, 1, f"there is no database {tmp_path}/mistyped/ryze.db")
    assert not (tmp_path / "mistyped").exists()


def test_invalid_database_url_is_exit_code_2(run: Run) -> None:
    result = run("account", "list", RYZE_DATABASE_URL="mysql://user:secret@host/name")
    assert_failed(result, 2, "RYZE_DATABASE_URL='mysql://user:***@host/name'")


def test_account_commands_ignore_other_settings(run: Run) -> None:
    assert run("account", "create", RYZE_PORT="wrong").exit_code == 0


# --- ryze key ---

KEY, NEW_KEY = b"k" * 32, b"n" * 32


def base64_of(*keys: bytes) -> str:
    return ",".join(base64.b64encode(key).decode() for key in keys)


def add_instance(directory: Path, name: str, *keys: bytes) -> None:
    async def add() -> None:
        async with store.open_database(f"sqlite:///{directory}/ryze.db") as database:
            account = await database.write(store.insert_account, name, store.hash_token(name))
            await database.write(
                store.insert_instance,
                store.TokenCipher(*keys),
                account.id,
                name,
                f"token of {name}",
                store.InstanceSettings(),
                None,
            )

    trio.run(add)


def tokens_in(directory: Path, *keys: bytes) -> list[str]:
    async def read() -> list[store.Instance]:
        async with store.open_database(f"sqlite:///{directory}/ryze.db") as database:
            return await database.read(store.select_instances, store.TokenCipher(*keys))

    return [instance.token for instance in trio.run(read)]


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """Data directory with two instances and a key file."""
    directory = tmp_path / "sealed"
    directory.mkdir()
    (directory / "ryze.key").touch(0o600)
    (directory / "ryze.key").write_text(base64_of(KEY))
    for name in ("a", "b"):
        add_instance(directory, name, KEY)
    return directory


def test_key_file_gets_a_new_key(run: Run, sealed: Path) -> None:
    result = run("key", "rotate", RYZE_DATA_DIR=str(sealed))
    assert result.exit_code == 0
    [new] = store.load_key("", sealed).keys
    [fingerprint] = store.TokenCipher(new).fingerprints
    assert result.stdout.startswith("Re-sealed 2 of 2 tokens")
    assert fingerprint in result.stdout
    assert f"{sealed}/ryze.key.old" in result.stderr
    assert "interrupted" not in result.stderr
    assert tokens_in(sealed, new) == ["token of a", "token of b"]
    assert base64_of(KEY) in (sealed / "ryze.key.old").read_text()
    assert base64_of(new) not in result.output


def test_interrupted_rotation_is_continued(run: Run, sealed: Path) -> None:
    add_instance(sealed, "c", NEW_KEY)
    (sealed / "ryze.key").write_text(base64_of(NEW_KEY, KEY).replace(",", "\n"))
    result = run("key", "rotate", "--data-dir", str(sealed))
    assert result.stdout.startswith("Re-sealed 2 of 3 tokens")
    assert "interrupted rotation" in result.stderr
    assert store.load_key("", sealed).keys == (NEW_KEY,)


def test_configured_keys_are_the_new_and_the_old_one(run: Run, sealed: Path) -> None:
    (sealed / "ryze.key").unlink()
    where = ["--data-dir", str(sealed)]
    result = run("key", "rotate", *where, RYZE_ENCRYPTION_KEY=base64_of(NEW_KEY, KEY))
    assert result.stdout.startswith("Re-sealed 2 of 2 tokens")
    assert "keep only the first key in RYZE_ENCRYPTION_KEY" in result.stderr
    assert tokens_in(sealed, NEW_KEY) == ["token of a", "token of b"]
    assert not (sealed / "ryze.key").exists()


def test_single_configured_key_cannot_be_rotated(run: Run, sealed: Path) -> None:
    result = run("key", "rotate", "--data-dir", str(sealed), RYZE_ENCRYPTION_KEY=base64_of(KEY))
    assert_rotation_failed(result, "RYZE_ENCRYPTION_KEY holds one key: put a new one before it")


def assert_rotation_failed(result: Result, *words: str) -> None:
    assert (result.exit_code, result.stdout) == (1, "")
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize(
    "keys",
    [
        base64_of(KEY, b"too short"),
        f"{base64_of(KEY)},",
        f",{base64_of(KEY)}",
        f"{base64_of(KEY)};{base64_of(NEW_KEY)}",
        f"{base64_of(KEY)},not base64!",
    ],
)
@pytest.mark.parametrize("command", [["key", "rotate"], ["serve"]])
def test_invalid_keys_are_exit_code_2(
    run: Run, served: list[Settings], command: list[str], keys: str
) -> None:
    result = run(*command, RYZE_ENCRYPTION_KEY=keys)
    assert_failed(result, 2, "RYZE_ENCRYPTION_KEY='***': expected 32 bytes in base64", "commas")
    assert keys not in result.output
    assert served == []


def test_server_accepts_several_keys(run: Run, served: list[Settings]) -> None:
    keys = base64_of(NEW_KEY, KEY).replace(",", " , ")
    run("serve", RYZE_ENCRYPTION_KEY=keys)
    assert [settings.encryption_key for settings in served] == [keys]


def test_there_is_no_key_flag(run: Run) -> None:
    assert_failed(run("key", "rotate", "--encryption-key", "secret"), 2, "No such option")
    assert "process list" in run("key", "--help").stdout


def test_key_is_not_rotated_while_a_server_runs(run: Run, sealed: Path) -> None:
    async def rotate_beside_a_server() -> Result:
        url = f"sqlite:///{sealed}/ryze.db"
        async with store.open_database(url, exclusive=True):
            return await trio.to_thread.run_sync(run, "key", "rotate", "--database-url", url)

    result = trio.run(rotate_beside_a_server)
    assert_failed(result, 1, f"{sealed}/ryze.db is in use", "stop the server first")
    assert store.load_key("", sealed).keys == (KEY,)


def test_rotate_creates_nothing_without_a_database(run: Run, tmp_path: Path) -> None:
    result = run("key", "rotate", RYZE_ENCRYPTION_KEY=base64_of(NEW_KEY, KEY))
    assert_failed(result, 1, "there is no database", "ryze-data/ryze.db")
    assert os.listdir(tmp_path) == []


def test_key_file_readable_by_others_is_rejected(run: Run, sealed: Path) -> None:
    (sealed / "ryze.key").chmod(0o644)
    assert_rotation_failed(run("key", "rotate", "--data-dir", str(sealed)), "mode 0644")


# --- ryze listen ---


@pytest.fixture
def listened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replace `client.listen` by one that emits two frames and records its arguments."""
    calls: list[Any] = []

    async def listen(*arguments: Any, on_frame: Any, on_status: Any, count: Any) -> None:
        await trio.lowlevel.checkpoint()
        calls.extend([*arguments, count])
        on_status("connected")
        on_frame('{"data":{"price":1.10,\r\n"text":"é"}}')
        on_frame("not JSON")

    monkeypatch.setattr(client, "listen", listen)
    return calls


def test_events_are_printed_one_per_line(run: Run, listened: list[Any]) -> None:
    result = run("listen", "orders", "--count", "2", RYZE_TOKEN="secret")
    assert result.exit_code == 0
    assert result.stdout == '{"data":{"price":1.10,  "text":"é"}}\nnot JSON\n'
    assert result.stderr == "connected\n"
    assert listened == ["http://127.0.0.1:8080", "orders", "secret", 2]


def test_events_can_be_indented(run: Run, listened: list[Any]) -> None:
    result = run("listen", "orders", "--pretty", RYZE_TOKEN="secret")
    assert result.stdout == (
        '{\n  "data": {\n    "price": 1.10,\n    "text": "é"\n  }\n}\nnot JSON\n'
    )


def test_token_is_read_from_a_file(run: Run, listened: list[Any], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from file\n")
    url = "https://events.example"
    run("listen", "orders", "--token-file", "token", RYZE_TOKEN="secret", RYZE_URL=url)
    run("listen", "orders", "--token-file", "-", "--url", "ws://a", input="from stdin\n")
    assert listened == [
        url,
        "orders",
        "from file\n",
        None,
        "ws://a",
        "orders",
        "from stdin\n",
        None,
    ]


def test_there_is_no_token_flag(run: Run, listened: list[Any]) -> None:
    assert_failed(run("listen", "orders", "--token", "secret"), 2, "No such option")
    assert "process list" in run("listen", "--help").stdout


@pytest.mark.parametrize("command", [["listen", "orders"], ["publish", "orders", "call.update"]])
def test_missing_token_is_exit_code_2(run: Run, command: list[str]) -> None:
    assert_failed(run(*command, input="{}"), 2, "set RYZE_TOKEN, or give a --token-file")


def test_unreadable_token_file_is_reported(run: Run, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    arguments = ["listen", "orders", "--token-file"]
    assert_failed(run(*arguments, "token"), 1, "cannot read the token file")
    assert_failed(run(*arguments, "missing"), 2, "No such file")


@pytest.mark.parametrize("url", ["ftp://a", "a", "http://a:port"])
def test_invalid_url_is_exit_code_2(run: Run, url: str) -> None:
    result = run("listen", "orders", "--url", url, RYZE_TOKEN="secret")
    assert_failed(result, 2, "is not an http:// or https:// URL")


def test_refusal_is_reported_in_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = client.ListenRefused(client.ConnectionOutcome(401, "Invalid token"))
    monkeypatch.setattr(client, "listen", fail_with(refused))
    result = run("listen", "orders", RYZE_TOKEN="secret")
    assert_failed(result, 1, "Error: Invalid token (HTTP 401)\n")


def test_token_that_is_no_header_value_is_rejected(run: Run) -> None:
    result = run("listen", "orders", RYZE_TOKEN="two words")
    assert_failed(result, 1, "invalid token")
    assert "two words" not in result.stderr


def test_ctrl_c_exits_quietly_with_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "listen", fail_with(KeyboardInterrupt()))
    result = run("listen", "orders", RYZE_TOKEN="secret")
    assert (result.exit_code, result.output) == (130, "")


# --- ryze publish ---


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replace `client.publish` by one that records its arguments."""
    calls: list[Any] = []

    def publish(*arguments: Any) -> dict[str, Any]:
        calls.append(arguments)
        return {"success": True, "published": 1}

    monkeypatch.setattr(client, "publish", publish)
    return calls


@pytest.mark.parametrize("file", [["data.json"], ["-"], []])
def test_data_is_published_byte_for_byte(
    run: Run, published: list[Any], file: list[str], tmp_path: Path
) -> None:
    data = '{ "price": 1.10 }\n'
    (tmp_path / "data.json").write_text(data)
    result = run("publish", "orders", "call.update", *file, input=data, RYZE_TOKEN="secret")
    assert (result.exit_code, result.output) == (0, '{"success":true,"published":1}\n')
    url = "http://127.0.0.1:8080"
    assert published == [(url, "orders", "secret", "call.update", data.encode())]


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b'"x"', b"{} {}", b'{"a":"\xff"}', b'{"a":' * 10_000, b"\xff\xfe{}"]
)
def test_data_must_be_a_json_object(run: Run, published: list[Any], data: bytes) -> None:
    result = run("publish", "orders", "call.update", input=data, RYZE_TOKEN="secret")
    assert_failed(result, 1, "Error: the data is not a JSON object: ")
    assert published == []


def test_unreadable_file_is_reported(
    run: Run, published: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["publish", "orders", "call.update"]
    assert_failed(run(*arguments, "missing", RYZE_TOKEN="secret"), 2, "No such file")
    # Can be opened, and fails at the first byte: address 0 of the process.
    if Path("/proc/self/mem").exists():
        result = run(*arguments, "/proc/self/mem", RYZE_TOKEN="secret")
        assert_failed(result, 1, "cannot read /proc/self/mem")


def test_unknown_event_type_is_exit_code_2(run: Run, published: list[Any]) -> None:
    result = run("publish", "orders", "message.sent", input="{}", RYZE_TOKEN="secret")
    assert_failed(result, 2, *EVENT_TYPES)
    text = run("publish", "--help").stdout
    assert all(event in text for event in EVENT_TYPES)


def test_failed_request_is_reported_in_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "publish", fail_with(client.RequestFailed("No", 404)))
    result = run("publish", "orders", "call.update", input="{}", RYZE_TOKEN="secret")
    assert_failed(result, 1, "Error: No (HTTP 404)\n")


# --- The real process ---

ENDLESS_FRAMES = """
import signal
import trio
from ryze import cli, client

# A shell starts background jobs with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

async def listen(*_arguments, on_frame, on_status, count):
    on_status("ready")
    while True:
        on_frame("{}")
        await trio.sleep(0)

client.listen = listen
cli.main()
"""


@contextlib.contextmanager
def process(*arguments: str, stdout: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``ryze`` with a `client.listen` that emits frames forever."""
    command = [sys.executable, "-c", ENDLESS_FRAMES, *arguments]
    environ = {**os.environ, "RYZE_TOKEN": "secret", "PYTHONWARNINGS": "error"}
    with subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, env=environ) as started:
        try:
            yield started
        finally:
            started.kill()


def test_closed_pipe_ends_it_quietly() -> None:
    with process("listen", "orders", stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        assert started.stdout.readline() == b"{}\n"
        started.stdout.close()
        assert started.wait(20) == 0
        assert started.stderr.read() == b"ready\n"


def test_sigint_ends_the_process_quietly() -> None:
    with process("listen", "orders", stdout=subprocess.DEVNULL) as started:
        assert started.stderr is not None
        assert started.stderr.readline() == b"ready\n"
        started.send_signal(signal.SIGINT)
        assert started.wait(20) == 130
        assert started.stderr.read() == b""


def test_server_does_not_start_with_another_key(sealed: Path) -> None:
    (sealed / "ryze.key").write_text(base64_of(NEW_KEY))
    command = [sys.executable, "-m", "ryze", "serve", "--port", "0", "--data-dir", str(sealed)]
    result = subprocess.run(command, capture_output=True, timeout=60, text=True)
    assert result.returncode == 1
    lost, in_use = store.TokenCipher(KEY, NEW_KEY).fingerprints
    assert result.stderr.startswith(
        f"Error: instance a (id 1): the token was sealed with the key {lost}, in use is {in_use}: "
        "put that key back"
    )
    assert result.stderr.count("\n") == 1


def test_python_m_ryze_is_the_command() -> None:
    command = [sys.executable, "-m", "ryze", "--version"]
    result = subprocess.run(command, capture_output=True, check=True, timeout=20)
    assert result.stdout.startswith(b"ryze ")

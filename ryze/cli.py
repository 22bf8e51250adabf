"""The ``ryze`` command.

The commands are thin: read the arguments, call one function, print its result. Errors of ours
become one line on standard error and an exit code, in one place (`_Commands`):

    0    done
    1    it failed, and the line says why
    2    wrong usage, a setting that is not what it must be among it
    130  Ctrl-C, as shells expect it

This is the edge of the program: ``os.environ`` is read here and nowhere below.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, Any, TypeVar

import click
import msgspec
import trio
from setproctitle import setproctitle

from ryze import __version__, client, store
from ryze.errors import AlreadyExists, RyzeError, SettingsError
from ryze.events import EVENT_TYPES
from ryze.settings import Setting, Settings, all_settings

__all__ = ["cli", "main"]

_T = TypeVar("_T")
_Command = TypeVar("_Command", bound=Callable[..., Any])

_DEFAULT_URL = "http://127.0.0.1:8080"


class _Failure(click.ClickException):
    """Prints ``Error: ...`` and exits with 1."""


class _WrongSetting(click.ClickException):
    """Prints ``Error: ...`` and exits with 2."""

    exit_code = 2


class _Commands(click.Group):
    """A group whose commands may raise our errors, be interrupted, and be cut off by ``head``."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise _WrongSetting(str(error)) from error
        except RyzeError as error:
            raise _Failure(str(error)) from error
        except KeyboardInterrupt:
            ctx.exit(130)
        except BrokenPipeError:
            _forget_stdout()


def _forget_stdout() -> None:
    """Who was reading has had enough, which is no failure of ours.

    What is still in the buffer goes nowhere, so that flushing it at the exit cannot fail again.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ryze", message="%(prog)s %(version)s")
def cli() -> None:
    """Ryze: a self-hosted, real-time event gateway.

    Configure an instance's WebSocket, publish events, and every client gets them at once.
    """


def main() -> None:
    """Run the ``ryze`` command and exit."""
    cli(prog_name="ryze")


# --- ryze serve ---


def _options_for(settings: Collection[Setting]) -> Callable[[_Command], _Command]:
    """A flag for each setting. They take any text: validation is the work of `Settings`."""

    def decorate(command: _Command) -> _Command:
        for setting in reversed(list(settings)):
            option = click.option(
                setting.flag, setting.name, metavar=setting.metavar, help=_help_for(setting)
            )
            command = option(command)
        return command

    return decorate


def _help_for(setting: Setting) -> str:
    default = f"; default: {setting.default}" if setting.default else ""
    return f"{setting.help}  [env: {setting.variable}{default}]"


def _settings_from(flags: dict[str, str | None]) -> Settings:
    """The settings that this command has flags for; the others keep their defaults."""
    # Not click's `envvar`, for which an empty variable is none: for us an empty limit is "off".
    wanted = {row.variable for row in all_settings() if row.name in flags}
    environ = {name: text for name, text in os.environ.items() if name in wanted}
    given = {name: text for name, text in flags.items() if text is not None}
    return Settings.from_environ(environ, **given)


@cli.command()
@_options_for(all_settings())
def serve(**flags: str | None) -> None:
    """Run the server until Ctrl-C or SIGTERM.

    Each setting is a flag or an environment variable; the flag wins. Prefer the variables for
    the two secrets: a flag stands in the process list until the server has started.
    """
    # First of all: it writes over the flags, so that no secret of theirs stays visible.
    setproctitle("ryze serve")
    with _held_signals():
        settings = _settings_from(flags)
        # Only here, as this is the one command that needs the whole server.
        from ryze.app import run

        run(settings, os.environ.get("NOTIFY_SOCKET", ""))


@contextmanager
def _held_signals() -> Iterator[None]:
    """Keep a request to stop for `run`: one that comes while it is imported ends well too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- ryze account ---


@cli.group(cls=_Commands)
def account() -> None:
    """Create accounts and change their tokens, also while a server runs.

    A TokenAccount is shown once, and only its hash is kept. These commands work on the database
    itself, so they need no token.
    """


_database_options = _options_for(
    [row for row in all_settings() if row.name in ("data_dir", "database_url")]
)


def _check_name(_ctx: click.Context, _param: click.Parameter, name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise click.BadParameter("expected a name of printable characters")
    return name


@account.command("create")
@click.argument("name", default="default", callback=_check_name)
@click.option("--max-instances", type=click.IntRange(min=0), help="No more instances than this.")
@_database_options
def create_account(name: str, max_instances: int | None, **flags: str | None) -> None:
    """Create the account NAME ("default" if not given) and print its TokenAccount, once."""

    async def create(database: store.Database, token_hash: str) -> None:
        try:
            await database.write(store.insert_account, name, token_hash, max_instances)
        except AlreadyExists as error:
            raise _Failure(f"there is an account {name!r} already") from error

    _give_token(flags, name, create)


@account.command("list")
@_database_options
def list_accounts(**flags: str | None) -> None:
    """List all accounts: number, name, and how many instances it may have."""

    async def select(database: store.Database) -> list[store.Account]:
        return await database.read(store.select_accounts)

    for found in _with_database(_settings_from(flags), select):
        limit = "no limit" if found.max_instances is None else str(found.max_instances)
        click.echo(f"{found.id}\t{found.name}\t{limit}")


@account.command("rotate")
@click.argument("name")
@_database_options
def rotate_account(name: str, **flags: str | None) -> None:
    """Give the account NAME a new TokenAccount and print it, once. The old one is void.

    A server that runs ends the connections that the old one opened. If it gets
    RYZE_ACCOUNT_TOKEN, change that too: the next start would give the old token back.
    """

    async def rotate(database: store.Database, token_hash: str) -> None:
        named = [each for each in await database.read(store.select_accounts) if each.name == name]
        if not named:
            raise _Failure(f"there is no account {name!r}")
        await database.write(store.update_account_token, named[0].id, token_hash)

    _give_token(flags, name, rotate)


def _give_token(
    flags: dict[str, str | None],
    name: str,
    work: Callable[[store.Database, str], Awaitable[None]],
) -> None:
    """Let `work` store the hash of a new token, then show the token this once."""
    settings = _settings_from(flags)
    token = store.new_token()
    token_hash = store.hash_token(token)
    _with_database(settings, lambda database: work(database, token_hash))
    # Only the token goes to standard output, so that `$(ryze account create)` works.
    click.echo(f"TokenAccount of {name!r} in {settings.database_url}, not shown again:", err=True)
    click.echo(token)


def _with_database(settings: Settings, work: Callable[[store.Database], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        async with store.open_database(settings.database_url) as database:
            return await work(database)

    return trio.run(run)


# --- ryze key ---


@cli.group(cls=_Commands)
def key() -> None:
    """Change the key that instance tokens are sealed with.

    The key is RYZE_ENCRYPTION_KEY, or else stands in ryze.key in the data directory. There is
    no flag for it: everybody on this machine could read it in the process list.
    """


@key.command("rotate")
@_database_options
def rotate_key(**flags: str | None) -> None:
    """Seal all instance tokens with a new key. Stop the server first.

    With a key file, this makes the new key, and moves the old one to ryze.key.old when no token
    needs it any more. With RYZE_ENCRYPTION_KEY, put the new key before the old one, with a comma
    between: RYZE_ENCRYPTION_KEY=new,old. Afterwards the new one is enough.

    Interrupted at any moment it leaves every token readable; call it again and it goes on.
    Clients notice nothing: the tokens stay the same. Backups of the database made before need
    the old key.
    """
    # The key comes from the environment alone.
    settings = _settings_from({**flags, "encryption_key": None})
    done = trio.run(_rotate_key, settings)
    if done.resumed and done.old_keys:
        click.echo("Went on with the rotation that was begun before.", err=True)
    click.echo(_what_of_the_old_key(done, settings), err=True)
    click.echo(f"Re-sealed {done.resealed} of {done.total} tokens, all have {done.fingerprint} now")


async def _rotate_key(settings: Settings) -> store.Rotation:
    try:
        async with store.open_database(
            settings.database_url, exclusive=True, must_exist=True
        ) as database:
            with click.progressbar(length=0, label="Sealing", file=sys.stderr) as bar:
                return await store.rotate_key(
                    database,
                    settings.encryption_key,
                    settings.data_dir,
                    on_progress=partial(_show_progress, bar),
                )
    except store.DatabaseInUse as error:
        raise _Failure(
            f"{error.path} is in use by a server or another rotation: stop the server first, it "
            "would go on sealing with the old key"
        ) from error


def _show_progress(bar: Any, done: int, total: int) -> None:
    bar.length = total
    bar.update(done - bar.pos)


def _what_of_the_old_key(done: store.Rotation, settings: Settings) -> str:
    old = ", ".join(done.old_fingerprints)
    if done.old_keys:
        return (
            f"The old key {old} is in {done.old_keys} now: backups made before need it. Delete "
            "that file when there are none."
        )
    return (
        f"No token in {settings.database_url} needs {old}: keep only the first key in "
        "RYZE_ENCRYPTION_KEY, and a copy of the old one as long as there are backups from before."
    )


# --- ryze listen, ryze publish ---


def _check_url(_ctx: click.Context, _param: click.Parameter, url: str) -> str:
    try:
        client.Server.at(url)
    except client.BadUrl as error:
        raise click.BadParameter(str(error)) from error
    return url


def _client_options(command: _Command) -> _Command:
    url = click.option(
        "--url",
        default=_DEFAULT_URL,
        envvar="RYZE_URL",
        show_default=True,
        show_envvar=True,
        callback=_check_url,
        help="The server.",
    )
    token_file = click.option(
        "--token-file",
        type=click.File("r"),
        metavar="FILE",
        help="Read the token from here (- = standard input) and not from RYZE_TOKEN.",
    )
    return url(token_file(command))


def _token_from(file: IO[str] | None) -> str:
    try:
        token = os.environ.get("RYZE_TOKEN", "") if file is None else file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise _Failure(f"cannot read the token file: {error}") from error
    if not token.strip():
        raise click.UsageError("There is no token: set RYZE_TOKEN, or give a --token-file.")
    return token


@cli.command()
@click.argument("instance")
@_client_options
@click.option("--pretty", is_flag=True, help="Indented JSON, over several lines.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many events.")
def listen(
    instance: str, url: str, token_file: IO[str] | None, pretty: bool, count: int | None
) -> None:
    """Print the events of INSTANCE as they come, one a line.

    The token is taken from RYZE_TOKEN or from a file. There is no --token flag: everybody on
    this machine could read it in the process list.

    Lost connections are made anew. What is published meanwhile is not received. Ends with 130
    after Ctrl-C. Status goes to standard error.
    """
    trio.run(
        partial(
            client.listen,
            url,
            instance,
            _token_from(token_file),
            on_frame=partial(_print_frame, _pretty if pretty else _in_one_line),
            on_status=partial(click.echo, err=True),
            count=count,
        )
    )


def _print_frame(form: Callable[[str], str], frame: str) -> None:
    # As bytes, since JSON is UTF-8 whatever the terminal's locale says. `echo` flushes.
    click.echo(form(frame).encode())


def _in_one_line(frame: str) -> str:
    # What a producer sends comes through byte for byte, line breaks between its tokens too;
    # inside JSON strings there are none.
    return frame.replace("\r", " ").replace("\n", " ")


def _pretty(frame: str) -> str:
    try:
        return msgspec.json.format(frame, indent=2)
    except msgspec.DecodeError:
        return frame


@cli.command()
@click.argument("instance")
@click.argument("event", type=click.Choice(list(EVENT_TYPES)), metavar="EVENT")
@click.argument("file", type=click.File("rb"), default="-", metavar="[FILE|-]")
@_client_options
def publish(
    instance: str, event: str, file: IO[bytes], url: str, token_file: IO[str] | None
) -> None:
    """Publish one EVENT to INSTANCE and print the server's answer.

    The event's data, a JSON object, is read from FILE or from standard input.

    \b
    EVENT is one of:
      message.exchange  message.status  call.update
      group.flow        instance.state  label.update

    The token is taken from RYZE_TOKEN or from a file. There is no --token flag: everybody on
    this machine could read it in the process list.
    """
    token = _token_from(token_file)
    answer = client.publish(url, instance, token, event, _read_object(file))
    click.echo(msgspec.json.encode(answer))


def _read_object(file: IO[bytes]) -> bytes:
    try:
        data = file.read()
        msgspec.json.decode(data, type=dict[str, Any])
    except OSError as error:
        raise _Failure(f"cannot read {file.name}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _Failure(f"the data is not a JSON object: {error}") from error
    return data


# --- ryze simulate, ryze demo ---


def _read_rate(_ctx: click.Context, _param: click.Parameter, text: str) -> float:
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise click.BadParameter("expected a number of events a second, such as 50 or 50/s")
    return rate


@cli.command()
@click.argument("instance")
@click.option(
    "--rate",
    default="10/s",
    show_default=True,
    callback=_read_rate,
    metavar="N/s",
    help="How many events a second.",
)
@click.option("--count", type=click.IntRange(min=1), help="End after so many events.")
@click.option("--seed", type=int, help="The same number gives the same events.")
@_client_options
def simulate(
    instance: str,
    rate: float,
    count: int | None,
    seed: int | None,
    url: str,
    token_file: IO[str] | None,
) -> None:
    """Publish made-up traffic to INSTANCE: what a busy phone would send.

    Conversations with their receipts, media, calls, group changes: all six types of events, at
    the chosen rate, as long as the server keeps up. Ends after --count events, or with 130 after
    Ctrl-C. Progress goes to standard error.

    The token is taken from RYZE_TOKEN or from a file. There is no --token flag: everybody on
    this machine could read it in the process list.
    """
    token = _token_from(token_file)
    from rich.console import Console

    from ryze.simulate import simulate as publish_traffic

    console = Console(stderr=True)
    trio.run(
        partial(
            publish_traffic,
            url,
            instance,
            token,
            rate=rate,
            count=count,
            seed=seed,
            console=console,
        )
    )


@cli.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="End after so long.",
)
def demo(seconds: float) -> None:
    """Show the whole thing at work: nothing to set up, nothing left behind.

    A server on a free port, two instances, simulated phones that publish, and listeners, one of
    which stops reading and is dropped. Everything is real, over loopback, and you can join in
    from another terminal. Ends by itself, or with Ctrl-C.
    """
    from ryze.demo import run

    run(seconds)

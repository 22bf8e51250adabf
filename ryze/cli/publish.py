"""``ryze publish``."""

from typing import IO, Any

import click
import msgspec

from ryze import client
from ryze.cli.client_options import client_options, read_token
from ryze.cli.command_group import Failure
from ryze.events.event import EVENT_TYPES

__all__ = ["publish"]


@click.command()
@click.argument("instance")
@click.argument("event", type=click.Choice(list(EVENT_TYPES)), metavar="EVENT")
@click.argument("file", type=click.File("rb"), default="-", metavar="[FILE|-]")
@client_options
def publish(
    instance: str, event: str, file: IO[bytes], url: str, token_file: IO[str] | None
) -> None:
    """Publish one EVENT to INSTANCE and print the server's response.

    The data of the event, a JSON object, is read from FILE or from standard input.

    \b
    EVENT is one of:
      message.exchange  message.status  call.update
      group.flow        instance.state  label.update

    The token is read from RYZE_TOKEN or from a file. There is no --token flag: all users of this
    machine could read it in the process list.
    """
    token = read_token(token_file)
    response = client.publish(url, instance, token, event, _read_object(file))
    click.echo(msgspec.json.encode(response))


def _read_object(file: IO[bytes]) -> bytes:
    try:
        data = file.read()
        msgspec.json.decode(data, type=dict[str, Any])
    except OSError as error:
        raise Failure(f"cannot read {file.name}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Failure(f"the data is not a JSON object: {error}") from error
    return data

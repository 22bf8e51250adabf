"""First start of a server: its first account, and the commands to try next."""

import shlex
import shutil
import sys
from pathlib import Path

import structlog

from ryze.errors import AlreadyExists, StartError
from ryze.settings import Settings
from ryze.store import (
    Database,
    hash_token,
    insert_account,
    new_token,
    select_accounts,
    update_account_token,
)

__all__ = ["command_line", "ensure_account", "first_steps"]

# Name of the account that a server creates.
_ACCOUNT = "default"

_log = structlog.get_logger("ryze")


async def ensure_account(database: Database, configured_token: str) -> str | None:
    """Ensure that an account exists.

    With a configured token, the account "default" gets that token, unless another account has it
    already; a token that it got meanwhile (``ryze account rotate``) becomes invalid. Without a
    configured token, a first account is created if there is none.

    Returns:
        The generated token, to be shown once; None if none was generated.

    Raises:
        StartError: the configured token is the token of an instance.
    """
    accounts = {account.name: account for account in await database.read(select_accounts)}
    if configured_token:
        token_hash = hash_token(configured_token)
        if token_hash in {account.token_hash for account in accounts.values()}:
            return None
        try:
            if existing := accounts.get(_ACCOUNT):
                await database.write(update_account_token, existing.id, token_hash)
                _log.warning("account token replaced", account=_ACCOUNT, by="RYZE_ACCOUNT_TOKEN")
            else:
                await database.write(insert_account, _ACCOUNT, token_hash)
        except AlreadyExists as error:
            raise StartError(
                "RYZE_ACCOUNT_TOKEN is the token of an instance: choose another token"
            ) from error
        return None
    if accounts:
        return None
    token = new_token()
    await database.write(insert_account, _ACCOUNT, hash_token(token))
    return token


def first_steps(settings: Settings, token: str | None) -> str:
    """Format the message after the start; with a new token, commands to paste."""
    url = settings.base_url
    listening = f"Ryze listens on {url}"
    if token is None:
        return listening
    return f"""{listening}

The TokenAccount of your new account, shown this once:

  {token}

Try it, in another terminal:

  export RYZE_URL={url} RYZE_TOKEN={token}
  curl -X POST $RYZE_URL/api/instance/new -H "token: $RYZE_TOKEN" -H "Content-Type: application/json" -d '{{"name": "demo"}}'
  curl -X POST $RYZE_URL/api/events/websocket/demo -H "token: $RYZE_TOKEN" -H "Content-Type: application/json" -d '{{"enabled": true}}'
  {command_line()} listen demo

and in a third one, with the same export:

  echo '{{"text": "hello"}}' | {command_line()} publish demo message.exchange
"""  # noqa: E501 - commands to paste


def command_line() -> str:
    """Return the command that runs this program from any directory, also if not on the PATH."""
    if shutil.which("ryze"):
        return "ryze"
    script = Path(sys.argv[0]).resolve()
    if script.name == "ryze":
        return shlex.quote(str(script))
    return f"{shlex.quote(sys.executable)} -m ryze"

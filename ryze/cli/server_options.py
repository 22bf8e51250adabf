"""Flags for settings, of the commands that open the files of a server."""

import os
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import click

from ryze.settings import Setting, Settings, all_settings

__all__ = ["database_options", "options_for", "settings_from"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def options_for(settings: Collection[Setting]) -> Callable[[_Command], _Command]:
    """Add a flag per setting to a command. They take any text: `Settings` validates."""

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


def settings_from(flags: dict[str, str | None]) -> Settings:
    """Build the settings for which this command has flags; the others keep their defaults."""
    # Not click's `envvar`, which ignores an empty variable: an empty rate limit means "off".
    wanted = {row.variable for row in all_settings() if row.name in flags}
    environ = {name: text for name, text in os.environ.items() if name in wanted}
    given = {name: text for name, text in flags.items() if text is not None}
    return Settings.from_environ(environ, **given)


database_options = options_for(
    [row for row in all_settings() if row.name in ("data_dir", "database_url")]
)

"""Flags for settings, on the commands that work with a server's own files."""

import os
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import click

from ryze.settings import Setting, Settings, all_settings

__all__ = ["database_options", "options_for", "settings_from"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def options_for(settings: Collection[Setting]) -> Callable[[_Command], _Command]:
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


def settings_from(flags: dict[str, str | None]) -> Settings:
    """The settings that this command has flags for; the others keep their defaults."""
    # Not click's `envvar`, for which an empty variable is none: for us an empty limit is "off".
    wanted = {row.variable for row in all_settings() if row.name in flags}
    environ = {name: text for name, text in os.environ.items() if name in wanted}
    given = {name: text for name, text in flags.items() if text is not None}
    return Settings.from_environ(environ, **given)


database_options = options_for(
    [row for row in all_settings() if row.name in ("data_dir", "database_url")]
)

"""Failures, interrupts and closed pipes, for all commands."""

import os
import sys
from typing import Any

import click

from ryze.errors import RyzeError, SettingsError

__all__ = ["CommandGroup", "Failure"]


class Failure(click.ClickException):
    """Prints ``Error: ...`` and exits with 1."""


class _InvalidSetting(click.ClickException):
    """Prints ``Error: ...`` and exits with 2."""

    exit_code = 2


class CommandGroup(click.Group):
    """Command group that turns errors of ours, Ctrl-C and a closed pipe into exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise _InvalidSetting(str(error)) from error
        except RyzeError as error:
            raise Failure(str(error)) from error
        except KeyboardInterrupt:
            ctx.exit(130)
        except BrokenPipeError:
            # The reader of our standard output closed the pipe, as `head` does: no failure.
            _discard_stdout()


def _discard_stdout() -> None:
    """Redirect standard output, so that flushing its buffer at exit cannot fail again."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)

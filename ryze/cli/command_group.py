"""What holds for all commands: how they fail, and how they are cut off."""

import os
import sys
from typing import Any

import click

from ryze.errors import RyzeError, SettingsError

__all__ = ["Commands", "Failure"]


class Failure(click.ClickException):
    """Prints ``Error: ...`` and exits with 1."""


class _WrongSetting(click.ClickException):
    """Prints ``Error: ...`` and exits with 2."""

    exit_code = 2


class Commands(click.Group):
    """A group whose commands may raise our errors, be interrupted, and be cut off by ``head``."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what it raises becomes an exit code."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise _WrongSetting(str(error)) from error
        except RyzeError as error:
            raise Failure(str(error)) from error
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

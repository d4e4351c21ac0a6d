"""What every command shares: its settings as flags, and errors as one line."""

from __future__ import annotations

import errno
import functools
import os
import re
import traceback
from collections.abc import Callable
from typing import Any, Final

import click

from knownface import settings as all_settings
from knownface.errors import ConfigurationError, KnownfaceError
from knownface.settings import Setting, Settings

STOPPED_BY_SETTINGS: Final = 2


class OneLineErrors(click.Group):
    """Commands whose failures end in one line on standard error, never in a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of their use, not of the alphabet."""
        del ctx
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KnownfaceError as error:
            raise Failure(error.message) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # whoever read our output has enough of it, which click knows how to end
            if os.environ.get("KNOWNFACE_LOG_LEVEL", "").lower() == "debug":
                traceback.print_exc()
            raise Failure(
                f"Something unforeseen went wrong ({type(error).__name__}: {error}). "
                "Set KNOWNFACE_LOG_LEVEL=debug to see where."
            ) from error


class Failure(click.ClickException):
    """An error as one line; `exit_code` is 1, or 2 when the settings forbid the start."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code  # type: ignore[misc]  # click's own subclasses do so, too


def with_settings(
    *names: str, full: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make these settings flags of a command, which gets the Settings as its first argument.

    `full` tells in the help which environment variable stands for a flag, too.
    """
    shown = {setting.name: setting for setting in all_settings.catalogue()}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**arguments: object) -> None:
            flags = {name: arguments.pop(name) for name in names}
            command(_load(flags), **arguments)

        decorated: Callable[..., None] = run
        for name in reversed(names):
            decorated = _option(shown[name], full=full)(decorated)
        return decorated

    return decorate


def _load(flags: dict[str, object]) -> Settings:
    try:
        return all_settings.load(flags)
    except ConfigurationError as error:
        raise Failure(error.message, STOPPED_BY_SETTINGS) from error


def _option(
    setting: Setting, *, full: bool
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    notes = [f"default: {setting.default}"]
    if setting.values:
        notes.insert(0, f"one of {setting.values}")
    if full:
        notes.insert(0, setting.variable)
    flag = setting.flag
    if setting.boolean:
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
    return click.option(
        flag,
        setting.name,
        default=None,
        metavar=None if setting.boolean else _metavar(setting),
        help=f"{setting.description} [{'; '.join(notes)}]",
    )


def _metavar(setting: Setting) -> str:
    known = {
        "data": "FOLDER",
        "models_dir": "FOLDER",
        "database_url": "URL",
        "max_file_size": "SIZE",
        "max_request_size": "SIZE",
    }
    number = re.fullmatch(r"[\d.]+", setting.default) and setting.name != "host"
    return known.get(setting.name, "NUMBER" if number else "VALUE")

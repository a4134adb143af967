"""The command line: dispatch only. A command's module is imported when the command is called."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib import import_module

import typer

from steepest._version import __version__
from steepest.errors import SteepestError
from steepest.reporting.text import clean

COMMANDS = ("run", "resume", "trust", "eval", "report", "diagnose", "compare", "transfer", "export", "list", "show")


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit code: 0, 2 for what the user can put right, 130 for Ctrl-C."""
    # `list` is a command here once its module is imported.
    given = [*(sys.argv[1:] if arguments is None else arguments)]
    logger, warnings = logging.getLogger("steepest"), _Warnings()
    logger.addHandler(warnings)
    try:
        return _app(given)(given, prog_name="steepest", standalone_mode=False) or 0
    except SteepestError as error:
        return _refused(str(error), error.code)
    except typer.TyperException as error:
        command = " ".join(["steepest", *given[:1]] if given[0] in COMMANDS else ["steepest"])
        return _refused(f"{error.format_message().rstrip('.')}; see `{command} --help`", 2)
    except OSError as error:
        if error.filename is None:
            raise
        return _refused(f"files must be usable, got {str(error.filename)!r} ({error.strerror}); correct or allow it", 2)
    finally:
        logger.removeHandler(warnings)


class _Warnings(logging.Handler):
    """Says on standard error what the package warns of, as text: it may repeat what servers and folders say."""

    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(clean(self.format(record)), err=True)


def _app(given: Sequence[str]) -> typer.Typer:
    """With the command that was called, or with all where none was."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback(invoke_without_command=True)(_top)
    for name in COMMANDS:
        if not given or given[0] == name or given[0] not in COMMANDS:
            app.command(name)(import_module(f"steepest.cli.{name}").command)
    return app


def _top(context: typer.Context, version: bool = typer.Option(False, "--version", help="Show the version.")) -> None:
    """Finds a better prompt for a language model, and says on held-out rows whether it is better."""
    if version:
        typer.echo(__version__)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _refused(message: str, code: int) -> int:
    line = " ".join(clean(message).split())
    typer.echo(f"error: {line}", err=True)
    return code

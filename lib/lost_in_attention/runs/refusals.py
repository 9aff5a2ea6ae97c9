"""How a command refuses: one line that says what was wrong, and an exit status that is not 0."""

import traceback
from collections.abc import Sequence

import typer

import lost_in_attention


def run(app: typer.Typer, arguments: Sequence[str] | None = None) -> None:
    """Run a command line; `arguments` are the process's own if not said.

    What this library refuses, or the system (no such file, no space), becomes a line on stderr
    and exit status 1.  Every other error keeps its traceback, which tells where it comes from.
    """
    try:
        app(arguments)
    except (ValueError, TypeError, OSError) as error:
        if not _is_refusal(error):
            raise
        typer.echo(f"Error: {' '.join(str(error).split())}", err=True)
        raise SystemExit(1) from None


def _is_refusal(error: Exception) -> bool:
    if isinstance(error, OSError):
        return True
    *_, (last, _) = traceback.walk_tb(error.__traceback__)
    package = last.f_globals.get("__package__") or ""
    return package.partition(".")[0] == lost_in_attention.__name__

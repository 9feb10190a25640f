"""How every command that takes long fails, stops, and says where its output is."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

from modular_manifolds.experiments.crew import CrewError
from modular_manifolds.experiments.data import DataError
from modular_manifolds.experiments.robustness_runs import RunsError

FAILED = 1
CONTRADICTED = 3
"""The exit status where something measured contradicts what was proved."""
INTERRUPTED = 130


@contextmanager
def conduct(console: Console, command: str, stopped: str = "nothing is lost. To carry on") -> Iterator[None]:
    """Turn what the user can mend, or has stopped, into a message and an exit status.

    Args:
        console: where the message goes.
        command: the command line to repeat after Ctrl-C.
        stopped: what is said of it then.

    Raises:
        typer.Exit: in place of CrewError, DataError, RunsError, OSError and KeyboardInterrupt.
    """
    try:
        yield
    except (CrewError, DataError, RunsError, OSError) as error:
        print_error(console, error)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt:
        console.print(f"\nStopped; {stopped}:\n    {escape(command)}", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None


def print_error(console: Console, error: Exception) -> None:
    """On one line, however long."""
    console.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)


def print_paths(console: Console, paths: Mapping[str, Path]) -> None:
    """Where things were written, by what they are."""
    for name, path in paths.items():
        print_as_is(console, f"{name + ':':<8} {path}")


def print_as_is(console: Console, text: str) -> None:
    """Without markup, colours or line breaks of the console's own."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)

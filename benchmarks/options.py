"""Options that several commands have, how they are read, and what is done with a result."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.markup import escape

from benchmarks import changes
from benchmarks.methods import METHODS
from benchmarks.workloads import Workload, parse
from modular_manifolds.experiments.files import write_atomically

Shapes = Annotated[
    str, typer.Option(metavar="A,B", help="What is stepped: MxN, KxMxN (a batch), or gpt2 (its hidden matrices).")
]
Methods = Annotated[
    str | None, typer.Option(metavar="A,B", help=f"Which of: {', '.join(METHODS)}. muon is always among them.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads of torch. Default: torch's choice.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]
Out = Annotated[Path | None, typer.Option(metavar="FILE.json", dir_okay=False, help="Write the numbers here too.")]
Compare = Annotated[
    Path | None,
    typer.Option(
        metavar="OLD.json", exists=True, dir_okay=False, help="Say what changed since; exit with 1 if for the worse."
    ),
]
Tolerance = Annotated[float, typer.Option(min=0, help="Changes by this share or less are none, for --compare.")]


def start(threads: int | None, device: str) -> torch.device:
    """Set the number of threads; the device."""
    if threads is not None:
        torch.set_num_threads(threads)
    return device_of(device)


def workloads_of(given: str) -> list[Workload]:
    try:
        return [parse(name) for name in dict.fromkeys(given.split(","))]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--shapes") from error


def names_of(given: str, known: Collection[str], option: str = "--methods") -> list[str]:
    names = [name.strip() for name in given.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise typer.BadParameter(
            f"{', '.join(unknown) or 'an empty list'} is unknown; there are {', '.join(known)}", param_hint=option
        )
    return list(dict.fromkeys(names))


def device_of(given: str) -> torch.device:
    try:
        device = torch.device(given)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise typer.BadParameter(f"{given!r} is neither cpu nor cuda", param_hint="--device")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise typer.BadParameter(
            f"{given} is not there: {torch.cuda.device_count()} CUDA devices", param_hint="--device"
        )
    return device


def read_old(path: Path | None, benchmark: str) -> dict[str, Any] | None:
    """An earlier result of this benchmark, for --compare."""
    if path is None:
        return None
    try:
        return changes.read(path, benchmark)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--compare") from error


def conclude(
    report: dict[str, Any], out: Path | None, old: dict[str, Any] | None, tolerance: float, console: Console
) -> None:
    """Write the result, and compare it with an older one; exit with 1 if something became worse."""
    if out is not None:
        write_atomically(out, json.dumps(report, indent=2).encode())
        console.print(f"wrote {escape(str(out))}", soft_wrap=True)
    if old is not None:
        found = changes.between(old, report, tolerance)
        changes.show(found, old, report, tolerance, console)
        if any(change.worse for change in found):
            raise typer.Exit(1)

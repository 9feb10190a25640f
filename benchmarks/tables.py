"""What the tables of all benchmarks have in common: they fit 80 columns, and have a section for every workload."""

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

import torch
from rich import box
from rich.table import Table

from benchmarks.hardware import describe
from benchmarks.numbers import significant
from benchmarks.timing import Spread


class HasWorkload(Protocol):
    """A row that names its workload."""

    @property
    def workload(self) -> str: ...


AnyRow = TypeVar("AnyRow", bound=HasWorkload)


def titled(what: str, device: torch.device, caption: str) -> Table:
    """An empty table with the hardware in its title."""
    hardware = describe(device)
    return Table(
        title=f"{what}, on {hardware['device']} ({hardware['cpu']}, {hardware['threads']} threads)",
        box=box.SIMPLE_HEAD,
        caption_justify="left",
        caption=caption,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )


def sections(table: Table, rows: Sequence[AnyRow]) -> Iterator[AnyRow]:
    """The rows, before the first of every workload a line with its name."""
    last = None
    for row in rows:
        if row.workload != last:
            if last is not None:
                table.add_row("")
            table.add_row(f"[bold]{row.workload}[/]")
            last = row.workload
        yield row


def with_quartiles(ratio: Spread) -> str:
    """The median, and the quartiles in brackets where there are any."""
    lower, upper = (significant(x, 2) for x in (ratio.lower, ratio.upper))
    median = significant(ratio.median)
    return median if ratio.lower == ratio.upper else f"{median} [dim]({lower}-{upper})[/]"

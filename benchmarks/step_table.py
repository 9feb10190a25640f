"""Steps as a table of 80 columns."""

from collections.abc import Sequence

import torch
from rich import box
from rich.table import Table

from benchmarks.hardware import describe
from benchmarks.numbers import brief, significant
from benchmarks.step import Row
from benchmarks.timing import Spread

_CAPTION = (
    "Ratios are to Muon (as shipped, and in fp32) in the same round, quartiles in brackets. Gap: what the step's "
    "tangent part, at unit length in the method's norm, lacks to steepest descent; ! breaks the promise of the "
    "precision. Tangency: the share of the step off the tangent space. "
    "Violation: largest entry of |W^T W - I| after it."
)


def table(rows: Sequence[Row], device: torch.device) -> Table:
    """A section for every workload."""
    result = titled("One step, float32 weights", device, _CAPTION)
    result.add_column("method", no_wrap=True)
    for column in ("pro-\nducts", "ms", "x muon", "x fp32", "gap", "tan-\ngency", "viola-\ntion"):
        result.add_column(column, justify="right", no_wrap=True)
    for i, row in enumerate(rows):
        if i == 0 or rows[i - 1].workload != row.workload:
            result.add_section()
            result.add_row(f"[bold]{row.workload}[/]")
        result.add_row(
            row.method,
            _products(row.quality.products),
            significant(1e3 * row.seconds.median),
            with_quartiles(row.ratio),
            "" if row.ratio_fp32 is None else significant(row.ratio_fp32.median),
            brief(row.quality.gap, 1) + ("!" if row.promise_kept is False else ""),
            brief(row.quality.tangency),
            brief(row.quality.violation),
        )
    return result


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


def with_quartiles(ratio: Spread) -> str:
    """The median, and the quartiles in brackets where there are any."""
    lower, upper = (significant(x, 2) for x in (ratio.lower, ratio.upper))
    median = significant(ratio.median)
    return median if ratio.lower == ratio.upper else f"{median} [dim]({lower}-{upper})[/]"


def _products(shares: dict[str, float]) -> str:
    return "none" if not shares else next(iter(shares)) if len(shares) == 1 else "mixed"

"""Steps as a table of 80 columns."""

from collections.abc import Sequence

import torch
from rich.table import Table

from benchmarks.numbers import brief, significant
from benchmarks.step import Row
from benchmarks.tables import sections, titled, with_quartiles

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
        # long quartiles go on a line of their own, before anything is cut off
        result.add_column(column, justify="right", no_wrap=column != "x muon")
    for row in sections(result, rows):
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


def _products(shares: dict[str, float]) -> str:
    return "none" if not shares else next(iter(shares)) if len(shares) == 1 else "mixed"

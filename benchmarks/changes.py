"""What changed between two results of a benchmark, by numbers that do not depend on how busy the machine was."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.numbers import significant

Report = dict[str, Any]
Values = dict[str, float]

_GOT = {"step": "slower", "scaling": "slower", "memory": "larger"}
_BETTER = {"slower": "faster", "larger": "smaller"}


def _ratio(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    yield "x muon", row["ratio"]["median"]


def _bytes(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    yield "state bytes per element", row["state_per_element"]
    yield "transient memory over the largest group", row["transient_ratio"]


_READ: Mapping[str, Callable[[Mapping[str, Any]], Iterator[tuple[str, float]]]] = {
    "step": _ratio,
    "scaling": _ratio,
    "memory": _bytes,
}


@dataclass(frozen=True)
class Change:
    """A number that both results have, where they differ by more than the tolerance; less is better."""

    what: str
    old: float
    new: float

    @property
    def worse(self) -> bool:
        return self.new > self.old


def read(path: Path, benchmark: str) -> Report:
    """An earlier result.

    Raises:
        ValueError: the file holds none of this benchmark.
    """
    try:
        report = json.loads(path.read_text())
        values(report)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no result of this version of the benchmarks") from error
    if report["benchmark"] != benchmark:
        raise ValueError(f"{path} is a result of {report['benchmark']}, not of {benchmark}")
    return dict(report)


def values(report: Report) -> Values:
    """The numbers of a result that are compared, by what they are."""
    extract = _READ[report["benchmark"]]
    return {
        f"{row['workload']}, {row['method']}: {name}": value
        for row in report["rows"]
        if row["method"] != report.get("reference")
        for name, value in extract(row)
    }


def between(old: Report, new: Report, tolerance: float) -> list[Change]:
    """What became worse, then what became better, by more than `tolerance` of the old number."""
    before, now = values(old), values(new)
    both = [Change(what, before[what], now[what]) for what in now if what in before]
    changed = [change for change in both if abs(change.new - change.old) > tolerance * change.old]
    return sorted(changed, key=lambda change: not change.worse)


def show(found: list[Change], old: Report, new: Report, tolerance: float, console: Console) -> None:
    """Print the changes, and what forbids to take them at their word."""
    worse = _GOT[new["benchmark"]]
    for change in found:
        style, word = ("red", worse) if change.worse else ("green", _BETTER[worse])
        numbers = f"{significant(change.old)} -> {significant(change.new)}"
        console.print(f"[{style}]{word}[/]  {change.what} {numbers}", highlight=False, soft_wrap=True)
    compared = len(values(old).keys() & values(new).keys())
    if not found:
        console.print(f"No change by more than {tolerance:.0%} among {compared} numbers in both results.")
    for setting in ("hardware", "gradients"):
        if old.get(setting) != new.get(setting):
            console.print(
                f"The older result has other {setting}: {old.get(setting)}, now {new.get(setting)}.",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )

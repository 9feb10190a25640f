"""What came of a comparison of constraints: the printed tables, and the page."""

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import numpy as np
from rich.table import Table as Terminal

from modular_manifolds.experiments.comparison import Finished
from modular_manifolds.experiments.constraints import FREE
from modular_manifolds.experiments.findings import findings, headline, leader
from modular_manifolds.experiments.report_settings import comparison_settings, machine_settings
from modular_manifolds.experiments.reports import Cell, Finding, Page, Section, Table, write_page
from modular_manifolds.experiments.run import Run
from modular_manifolds.experiments.softening import Softening
from modular_manifolds.experiments.softening_plot import Moved, draw, runs_of
from modular_manifolds.experiments.summary import Group, Spread, best_by_method

_MOVEMENT = {
    "distance": "d(W)",
    "effective_distance": "d(W_eff)",
    "reversals": "reversals",
    "swing": "swing",
    "turn": "turn",
}
"""Fields of a movement, and what they are called in a table."""

_CONSTRAINTS = (
    "The same network, batches and optimizer under every constraint: on raw weights that nothing holds (free), on raw "
    "weights from which a soft constraint of constant kappa makes the effective ones (0 is the hardest), with the "
    "nearest point of the manifold after every step (projected), and along the manifold (manifold-step). Learning "
    "rates are those of highest mean test accuracy, so every accuracy here is a little flattered."
)
_MEASURES = (
    "d is the distance to the manifold at the end, of raw and of effective weights; reversals, the share of steps at "
    "which it turns round: 0 for a drift, 1/2 for a random walk, 1 for an oscillation. Swing is the cosine of "
    "successive changes of W's singular values, turn that of W_eff: negative where steps undo one another."
)


def best_table(finished: Finished, moved: Moved) -> Terminal:
    """Every constraint at its best learning rate."""
    table = Terminal(
        title="best learning rate of each constraint (by mean test accuracy)",
        caption="d: distance to the manifold at the end; reversals: share of steps at which it turns round; "
        "cosines of successive changes, swing: of W's singular values, turn: of W_eff",
    )
    table.add_column("constraint", no_wrap=True)
    for heading in ("lr", "test %", "train %", "d(W)", "d(W_eff)", "reversals", "swing", "turn"):
        table.add_column(heading, justify="right", no_wrap=True)
    for method, group in best_by_method(finished.results.values()).items():
        runs = runs_of(finished, method, group.lr)
        table.add_row(
            method,
            f"{group.lr:g}",
            group.test_accuracy.text(2),
            group.spread("train_accuracy").text(2),
            *(_mean(moved, runs, name) for name in ("distance", "effective_distance", "reversals", "swing", "turn")),
        )
    return table


def scan_table(finished: Finished, moved: Moved) -> Terminal:
    """Reversals, by learning rate, and what they come with."""
    lrs = sorted({run.lr for run in finished.results})
    table = Terminal(title="by learning rate: reversals of d(W) | test accuracy, %")
    table.add_column("constraint", no_wrap=True)
    for lr in lrs:
        table.add_column(f"{lr:g}", justify="right")
    for method in finished.comparison.methods:
        cells = []
        for lr in lrs:
            runs = runs_of(finished, method, lr)
            accuracy = Spread.of(finished.results[run].test_accuracy for run in runs)
            cells.append(f"{_mean(moved, runs, 'reversals')} | {accuracy.mean:.1f}")
        table.add_row(method, *cells)
    return table


def write_report(finished: Finished, moved: Moved) -> Path:
    """Write the page and its figures into the comparison's folder; where the page is."""
    return write_page(report_page(finished, moved), finished.comparison.out)["report"]


def report_page(finished: Finished, moved: Moved) -> Page:
    """What was compared, and what came out."""
    softening = cast(Softening, finished.comparison)
    best = best_by_method(finished.results.values())
    raw, effective, *scans = draw(finished, moved)
    return Page(
        recipe="soften",
        subject=f"{softening.data}, {softening.optimizer}, {len(finished.results)} runs",
        headline=headline(best),
        findings=(*findings(best), *_against_free(best)),
        sections=(
            Section(
                "Each constraint at its best learning rate",
                (_CONSTRAINTS, _MEASURES),
                (_best(finished, moved, best),),
            ),
            Section("By learning rate", figures=tuple(scans)),
            Section("Distance from the manifold", figures=(raw, effective)),
            Section("All learning rates", tables=(_all(finished, moved),), folded=True),
        ),
        settings=(
            *comparison_settings(softening, finished.data),
            ("optimizer", softening.optimizer),
            ("start of raw weights", str(softening.start)),
            *machine_settings(str(softening.threads)),
        ),
        command=softening.command(),
    )


def _against_free(best: dict[str, Group]) -> list[Finding]:
    first = leader(best)
    points = first.test_accuracy.mean - best[FREE].test_accuracy.mean
    if first.method == FREE or np.isnan(points):
        return []
    return [Finding(f"{points:+.2f}", f"points of test accuracy of {first.method}, against free weights")]


def _best(finished: Finished, moved: Moved, best: dict[str, Group]) -> Table:
    rows = [_row(finished, moved, method, group.lr) for method, group in best.items()]
    return Table(_columns(), tuple(rows), highlight=(list(best).index(leader(best).method),))


def _all(finished: Finished, moved: Moved) -> Table:
    keys = dict.fromkeys((run.method, run.lr) for run in finished.results)
    return Table(_columns(), tuple(_row(finished, moved, *key) for key in keys))


def _columns() -> tuple[str, ...]:
    return ("constraint", "lr", "test accuracy (%)", "train accuracy (%)", *_MOVEMENT.values())


def _row(finished: Finished, moved: Moved, method: str, lr: float) -> tuple[Cell, ...]:
    runs = runs_of(finished, method, lr)
    test, train = (
        Spread.of(getattr(finished.results[run], name) for run in runs) for name in ("test_accuracy", "train_accuracy")
    )
    movement = [Spread.of(getattr(moved[run], name) for run in runs).mean for name in _MOVEMENT]
    return (method, lr, test.text(2), train.text(2), *movement)


def _mean(moved: Moved, runs: Iterable[Run], name: str) -> str:
    """Of one field of the runs' movements; a dash where it is not defined."""
    mean = Spread.of(getattr(moved[run], name) for run in runs).mean
    return "-" if np.isnan(mean) else f"{mean:.2g}"

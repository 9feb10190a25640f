"""The report of a transfer study: how far the best learning rate moves."""

from math import isinf, log2
from pathlib import Path

from modular_manifolds.experiments import plots
from modular_manifolds.experiments.report_settings import machine_settings
from modular_manifolds.experiments.reports import Cell, Figure, Finding, Page, Section, Table, write_page
from modular_manifolds.experiments.task import Task
from modular_manifolds.experiments.transfer import Transfer
from modular_manifolds.experiments.transfer_findings import Curve, Findings
from modular_manifolds.experiments.transfer_methods import METHODS
from modular_manifolds.experiments.transfer_plot import draw

_READING = (
    "Every network is trained at learning rates a factor of 2 apart, on both sides of the best one. A method transfers "
    "if its best rate stays where it was, so that a large network needs no search of its own. What keeping the first "
    "network's rate adds to the last one's loss says what a move costs."
)


def write_report(study: Transfer, task: Task, findings: Findings) -> dict[str, Path]:
    """Write the page and the figure; where to look, by what it is."""
    canvas = draw(findings)
    figure = plots.finish(
        "transfer",
        "Training loss against learning rate",
        "A panel for every method, a line for every network; the best learning rate of each is outlined.",
        canvas,
        _all(findings),
    )
    page = report_page(study, task, findings, figure)
    return {**plots.write_files(figure, canvas, study.out), **write_page(page, study.out)}


def report_page(study: Transfer, task: Task, findings: Findings, figure: Figure) -> Page:
    """What was swept, and what came out."""
    course = study.course
    return Page(
        recipe="transfer",
        subject=findings.title,
        headline=_headline(findings),
        findings=_large(findings),
        sections=(
            Section("How far the best learning rate moves", (_READING,), (_moves(findings),), (figure,)),
            Section("The best learning rate of every network", tables=(_best(findings),), folded=True),
            Section("The methods", tables=(_methods(findings),), folded=True),
        ),
        settings=(
            ("data", f"{study.data}: {task.classes} classes"),
            ("widths", f"{_list(study.widths)}, at depth {course.depth}" if study.widths else "not swept"),
            ("depths", f"{_list(study.depths)}, at width {course.width}" if study.depths else "not swept"),
            (
                "training",
                f"{course.steps} steps, batches of {course.batch_size}; the learning rate falls linearly to 0",
            ),
            ("training loss", "mean over the last tenth of the steps"),
            ("search", f"{study.reach} or more learning rates on either side of the best one, a factor of 2 apart"),
            ("seeds", str(study.seeds)),
            *machine_settings(_threads(study)),
        ),
        command=study.command(),
    )


def _headline(findings: Findings) -> str:
    clauses = []
    for sweep in findings.sweeps:
        families = {method: findings.families[sweep, method] for method in findings.methods}
        sizes = list(next(iter(families.values())).curves)
        moves = ", ".join(f"{method} {2**family.shift}×" for method, family in families.items())
        clauses.append(f"from {sweep} {sizes[0]} to {sizes[-1]}: {moves}")
    return f"How far the best learning rate moves {'; '.join(clauses)}."


def _large(findings: Findings) -> tuple[Finding, ...]:
    return tuple(
        Finding(f"{2**family.shift}×", f"{method}: smallest to largest of the best learning rates, by {sweep}")
        for (sweep, method), family in findings.families.items()
    )


def _moves(findings: Findings) -> Table:
    rows = []
    for (sweep, method), family in findings.families.items():
        sizes = list(family.curves)
        last = family.curves[sizes[-1]]
        rows.append(
            (
                str(sweep),
                method,
                f"{sizes[0]} to {sizes[-1]}",
                2**family.shift,
                2**family.shift_by_test,
                family.kept_lr,
                _loss(last.train_loss(last.best)),
                _loss(family.price),
            )
        )
    columns = ("sweep", "method", "sizes", "moves by (×)", "by test loss (×)", "first network's rate")
    return Table((*columns, "last network's best loss", "added by the first's rate"), tuple(rows))


def _methods(findings: Findings) -> Table:
    return Table(("method", "what it does"), tuple((name, METHODS[name].summary) for name in findings.methods))


def _best(findings: Findings) -> Table:
    rows = [
        (str(sweep), method, size, *_at(curve, curve.best), "yes" if curve.inside else "no: the outermost tried")
        for (sweep, method), family in findings.families.items()
        for size, curve in family.curves.items()
    ]
    return Table(("sweep", "method", "size", *_MEASURED, "tried on both sides"), tuple(rows))


def _all(findings: Findings) -> Table:
    rows = [
        (str(sweep), method, size, *_at(curve, lr))
        for (sweep, method), family in findings.families.items()
        for size, curve in family.curves.items()
        for lr in curve.outcomes
    ]
    return Table(("sweep", "method", "size", *_MEASURED), tuple(rows))


_MEASURED = ("lr", "power of 2", "training loss", "test loss", "ms per step")


def _at(curve: Curve, lr: float) -> tuple[Cell, ...]:
    """As _MEASURED; the time is the mean over the seeds."""
    outcomes = curve.outcomes[lr]
    milliseconds = sum(outcome.step_milliseconds for outcome in outcomes) / len(outcomes)
    return (lr, log2(lr), _loss(curve.train_loss(lr)), _loss(curve.test_loss(lr)), milliseconds)


def _loss(value: float) -> Cell:
    return "diverged" if isinf(value) else value


def _threads(study: Transfer) -> str:
    return str(study.threads) if study.workers == 1 else f"{study.threads} in each of {study.workers} processes"


def _list(sizes: tuple[int, ...]) -> str:
    return ", ".join(map(str, sizes))

"""The report on solvers, as a page."""

from modular_manifolds.experiments.data import Dataset
from modular_manifolds.experiments.network import weight_shapes
from modular_manifolds.experiments.reports import Finding, Page, Section, Table
from modular_manifolds.experiments.results import plain
from modular_manifolds.experiments.solvers.figures import against_gap, table, time_against_gap
from modular_manifolds.experiments.solvers.findings import Findings, headline
from modular_manifolds.experiments.solvers.graded import LOOKS
from modular_manifolds.experiments.solvers.ladder import LADDER, REFERENCE
from modular_manifolds.experiments.solvers.study import SolverStudy

_ABOUT = (
    "Every step asks for the tangent direction of spectral norm 1 in which the loss falls fastest. The closed form "
    "gives it; published solvers come more or less close. Here each of them trains the same network from the same "
    "weights on the same batches.",
    f"At {LOOKS} steps of a training the directions are graded: what share of the steepest first-order decrease they "
    "miss (the gap), against an upper bound that is certified. A direction that is not quite tangent is graded by its "
    "tangent part, which is where the step leads once it is back on the manifold.",
)


def page(study: SolverStudy, data: Dataset, findings: Findings) -> Page:
    """What was found, as it is to be shown."""
    lr = findings.best_lr
    exact = findings.cells[REFERENCE, lr]
    others = tuple(each for each in findings.lrs if each != lr)
    shapes = weight_shapes(data.features, study.widths, data.classes)
    return Page(
        recipe="solvers",
        subject=str(data.name),
        headline=headline(findings),
        findings=(
            Finding(f"{exact.spread('test_accuracy').text(2)} %", f"test accuracy of the exact direction at lr {lr:g}"),
            Finding(f"{exact.spread('gap').mean:.1e}", "its gap, 0 but for rounding"),
            Finding(f"±{findings.noise(REFERENCE, lr, 'test_accuracy'):.2f}", "points between two solvers are noise"),
        ),
        sections=(
            Section(
                "Accuracy against the gap", _ABOUT, figures=(*against_gap(findings, lr), time_against_gap(findings))
            ),
            Section("Each at its own best learning rate", tables=(own_best(findings),)),
            Section("At every learning rate", tables=(table(findings, tuple(findings.lrs)),)),
            Section(
                "The figures at the other learning rates",
                figures=tuple(figure for other in others for figure in against_gap(findings, other)),
                folded=True,
            ),
        ),
        settings=(
            ("data", str(data.name)),
            ("weights", ", ".join(f"{m} x {n}" for m, n in shapes)),
            ("geometry", "Stiefel x Spectral on every weight, no momentum"),
            ("epochs", f"{study.epochs}, learning rate falling linearly to 0, batches of {study.batch_size}"),
            ("seeds", f"{study.seeds}, of slow solvers {study.slow_seeds}"),
            *((name, LADDER[name].summary) for name in findings.solvers),
        ),
        command=study.command(),
    )


def own_best(findings: Findings) -> Table:
    """Every solver at its own learning rate of highest mean test accuracy."""
    rows = []
    for solver in findings.solvers:
        cell = findings.best(solver)
        accuracy = cell.spread("test_accuracy")
        loss, time = cell.spread("train_loss").mean, cell.spread("step_milliseconds").mean
        gap = 100 * cell.spread("gap").mean
        rows.append((solver, cell.lr, accuracy.count, gap, accuracy.mean, accuracy.std, loss, time))
    columns = ("solver", "lr", "seeds", "gap, %", "test accuracy, %", "spread of it", "train loss", "ms a step")
    return Table(columns, tuple(tuple(plain(row)) for row in rows), highlight=(findings.solvers.index(REFERENCE),))

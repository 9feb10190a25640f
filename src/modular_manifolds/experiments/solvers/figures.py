"""The figures of a report on solvers: where training ends against how good its directions were."""

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from modular_manifolds.experiments.plots import PLAIN_NUMBERS, finish, legend_below, open_axes
from modular_manifolds.experiments.reports import Figure, Table
from modular_manifolds.experiments.results import plain
from modular_manifolds.experiments.solvers.findings import Findings
from modular_manifolds.experiments.solvers.ladder import LADDER, REFERENCE
from modular_manifolds.experiments.svg import FAINT

# Colours stand out against a white and a near-black page alike; a family of solvers has one.
_COLORS = {"scaled": "#a855f7", "ascent": "#e07a1f", "": "#0d9488", "closed": "#3b82f6"}
_MARKERS = "osD^vP*Xph<>d8"
_SIZE = (4.2, 3.9)
_MEASURES = {"test_accuracy": "test accuracy (%)", "train_loss": "train loss"}


def against_gap(findings: Findings, lr: float) -> list[Figure]:
    """Test accuracy and train loss against the measured gap, a large dot a solver, small ones its seeds."""
    return [_against(findings, lr, measure) for measure in _MEASURES]


def _against(findings: Findings, lr: float, measure: str) -> Figure:
    label = _MEASURES[measure]
    name = f"{measure.replace('_', '-')}-lr{lr:g}"
    with open_axes(_SIZE) as (figure, axes):
        _band(axes, findings, lr, measure)
        for i, solver in enumerate(findings.solvers):
            cell = findings.cells[solver, lr]
            color, marker = _color(solver), _MARKERS[i % len(_MARKERS)]
            gaps = [outcome.gap for outcome in cell.by_seed.values()]
            values = [getattr(outcome, measure) for outcome in cell.by_seed.values()]
            axes.plot(gaps, values, ".", color=color, markersize=3, alpha=0.5)
            mean = cell.spread(measure).mean
            axes.plot([cell.spread("gap").mean], [mean], marker, color=color, markersize=6, label=LADDER[solver].label)
        _gap_axis(axes)
        axes.set_ylabel(label)
        if measure == "train_loss":
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(PLAIN_NUMBERS)
        legend_below(figure, axes)
        caption = (
            "Gap: mean over ten steps and all layers, certified. Large: means over the seeds; small: seeds. Band: "
            "around the exact direction, two standard errors of a difference from it between runs of one seed."
        )
        title = f"{label.removesuffix(' (%)').capitalize()} against the gap of directions, lr {lr:g}"
        plot = finish(name, title, caption, figure)
    return Figure(plot.name, plot.title, plot.caption, plot.drawing, table(findings, (lr,)))


def _band(axes: Axes, findings: Findings, lr: float, measure: str) -> None:
    mean, noise = findings.cells[REFERENCE, lr].spread(measure).mean, findings.noise(REFERENCE, lr, measure)
    if noise == noise:
        axes.axhspan(mean - noise, mean + noise, color=FAINT, alpha=0.5, linewidth=0)


def time_against_gap(findings: Findings) -> Figure:
    """What a small gap costs."""
    lr = findings.best_lr
    with open_axes(_SIZE) as (figure, axes):
        for i, solver in enumerate(findings.solvers):
            cell = findings.cells[solver, lr]
            x, y = cell.spread("gap").mean, cell.spread("step_milliseconds").mean
            marker = _MARKERS[i % len(_MARKERS)]
            axes.plot([x], [y], marker, color=_color(solver), markersize=6, label=LADDER[solver].label)
        _gap_axis(axes)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(PLAIN_NUMBERS)
        axes.set_ylabel("ms per step")
        legend_below(figure, axes)
        caption = f"Processor time to step all layers, at lr {lr:g}; median of ten steps, mean over the seeds."
        plot = finish("time", "Time of a step against the gap of directions", caption, figure)
    return Figure(plot.name, plot.title, plot.caption, plot.drawing, table(findings, (lr,)))


def _gap_axis(axes: Axes) -> None:
    """Linear below 1 %, where the exact ones are, and logarithmic above."""
    axes.set_xscale("symlog", linthresh=0.01)
    axes.set_xlim(-0.002, 1)
    axes.set_xticks([0, 0.01, 0.03, 0.1, 0.3, 1], ["0", "1", "3", "10", "30", "100"])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("share of the steepest decrease that is missed (%)")


def table(findings: Findings, lrs: tuple[float, ...]) -> Table:
    """A row for every solver and learning rate."""
    columns = (
        "solver", "lr", "seeds", "gap, %", "largest gap, %", "not tangent, %", "ms a step", "train loss",
        "test accuracy, %", "spread of it", "to exact, points", "noise", "train loss to exact", "noise of it",
    )  # fmt: skip
    rows: list[tuple[str | float, ...]] = []
    strong = []
    for lr in lrs:
        for solver in findings.solvers:
            cell = findings.cells[solver, lr]
            accuracy = cell.spread("test_accuracy")
            if solver == REFERENCE:
                strong.append(len(rows))
            rows.append(
                (
                    solver,
                    lr,
                    accuracy.count,
                    100 * cell.spread("gap").mean,
                    100 * max(outcome.largest_gap for outcome in cell.by_seed.values()),
                    100 * cell.spread("tangency").mean,
                    cell.spread("step_milliseconds").mean,
                    cell.spread("train_loss").mean,
                    accuracy.mean,
                    accuracy.std,
                    findings.difference(solver, lr, "test_accuracy").mean,
                    findings.noise(solver, lr, "test_accuracy"),
                    findings.difference(solver, lr, "train_loss").mean,
                    findings.noise(solver, lr, "train_loss"),
                )
            )
    return Table(columns, tuple(tuple(plain(row)) for row in rows), highlight=tuple(strong))


def _color(solver: str) -> str:
    if LADDER[solver].solver is None:
        return _COLORS["closed"]
    return next(color for word, color in _COLORS.items() if word in solver)

"""The report of a study of tightness: how far proved bounds are from what can be found."""

from math import isfinite
from pathlib import Path
from statistics import fmean, median

from modular_manifolds.experiments import plots
from modular_manifolds.experiments.data import Dataset
from modular_manifolds.experiments.report_settings import machine_settings
from modular_manifolds.experiments.reports import Cell, Figure, Finding, Page, Section, Table, write_page
from modular_manifolds.experiments.tightness import ROUNDING, Findings, Tightness
from modular_manifolds.experiments.tightness_networks import TRAINED
from modular_manifolds.experiments.tightness_plot import draw
from modular_manifolds.experiments.tightness_search import STRATEGIES
from modular_manifolds.experiments.tightness_table import by_family, exceeding

_READING = (
    "The true Lipschitz constant is between the largest stretch found and the proved bound: their ratio says how loose "
    "the bound can be at most. Networks are measured after training, and at their start; bounds, stretches and ratios "
    "are medians over the seeds."
)


def write_report(study: Tightness, data: Dataset, findings: Findings) -> dict[str, Path]:
    """Write the page and the figure; where to look, by what it is."""
    canvas = draw(findings)
    figure = plots.finish(
        "tightness",
        "Proved Lipschitz bound over the largest stretch found, and test accuracy, against depth",
        "Medians of the ratios and means of the accuracies over the seeds; small dots are single networks.",
        canvas,
        _networks(findings),
    )
    page = report_page(study, data, findings, figure)
    return {**plots.write_files(figure, canvas, study.out), **write_page(page, study.out)}


def report_page(study: Tightness, data: Dataset, findings: Findings, figure: Figure) -> Page:
    """What was measured, and what came out."""
    return Page(
        recipe="tightness",
        subject=f"{study.data}, {len(findings)} networks",
        headline=_headline(findings),
        findings=_large(findings),
        sections=(
            Section("Bound and stretch", (_READING,), (_details(findings),), (figure,)),
            Section(
                "How the search went",
                ("The largest stretch after each of its strategies, in % of the final one: medians over the seeds.",),
                (_search(findings),),
                folded=True,
            ),
        ),
        settings=(
            ("data", f"{study.data}: {len(data.train):,} training, {len(data.test):,} test images"),
            ("networks", f"hidden layers {study.width} wide, ReLU, no biases; depth counts weight matrices"),
            ("training", f"{study.epochs} epochs, batches of {study.batch_size}; each method's best learning rate"),
            ("effort", f"{study.effort:g} times the default search"),
            ("seeds", str(study.seeds)),
            *machine_settings(str(study.threads)),
        ),
        command=study.command(),
    )


def _trained_ratios(findings: Findings) -> dict[str, dict[int, float]]:
    """Medians by what was trained and depth."""
    return {
        family: {depth: median(m.ratio for m in measured) for depth, measured in sorted(by_depth.items())}
        for family, by_depth in by_family(findings).items()
        if family.endswith(TRAINED)
    }


def _headline(findings: Findings) -> str:
    ratios = _trained_ratios(findings)
    depths = list(next(iter(ratios.values())))
    where = f"depth {depths[0]}" if len(depths) == 1 else f"depths {depths[0]} and {depths[-1]}"
    each = "; ".join(
        f"{family}: {' and '.join(_times(by_depth[depth]) for depth in dict.fromkeys((depths[0], depths[-1])))}"
        for family, by_depth in ratios.items()
    )
    return f"How much larger the proved bound is than the largest stretch found, at {where}: {each}."


def _large(findings: Findings) -> tuple[Finding, ...]:
    each = tuple(
        Finding(_times(list(by_depth.values())[-1]), f"bound over stretch at depth {list(by_depth)[-1]}, {family}")
        for family, by_depth in _trained_ratios(findings).items()
    )
    above, measurements = exceeding(findings), sum(measured.measurements for measured in findings.values())
    verdict = "none" if above == 0 else "the bound is WRONG"
    label = f"of {measurements:,} measured stretches exceed the bound by {ROUNDING:g} ({verdict})"
    return (*each, Finding(f"{above:,}", label))


def _details(findings: Findings) -> Table:
    rates = {(specimen.family, specimen.depth): specimen.lr for specimen in findings}
    rows: list[tuple[Cell, ...]] = [
        (
            family,
            depth,
            rates[family, depth],
            fmean(m.test_accuracy for m in measured),
            median(m.bound for m in measured),
            median(m.stretch for m in measured),
            _ratio(median(m.ratio for m in measured)),
            _ratio(min(m.ratio for m in measured)),
            _ratio(max(m.ratio for m in measured)),
        )
        for family, by_depth in by_family(findings).items()
        for depth, measured in by_depth.items()
    ]
    columns = ("network", "depth", "lr", "test accuracy (%)", "proved bound", "largest stretch", "ratio")
    return Table((*columns, "smallest ratio", "largest ratio"), tuple(rows))


def _search(findings: Findings) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            family,
            depth,
            *(100 * median(m.after[name] / m.stretch if m.stretch else 1.0 for m in measured) for name in STRATEGIES),
        )
        for family, by_depth in by_family(findings).items()
        for depth, measured in by_depth.items()
    ]
    return Table(("network", "depth", *STRATEGIES), tuple(rows))


def _networks(findings: Findings) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (s.family, s.depth, s.seed, m.bound, m.stretch, _ratio(m.ratio), m.test_accuracy) for s, m in findings.items()
    ]
    columns = ("network", "depth", "seed", "proved bound", "largest stretch", "ratio", "test accuracy (%)")
    return Table(columns, tuple(rows))


def _ratio(value: float) -> Cell:
    return value if isfinite(value) else "no stretch found"


def _times(value: float) -> str:
    return f"{value:.3g}×" if isfinite(value) else "no stretch found"

"""The report of robustness: what is proved of trained networks, and what an attack leaves of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from modular_manifolds.experiments import plots
from modular_manifolds.experiments.data import Dataset
from modular_manifolds.experiments.report_settings import machine_settings
from modular_manifolds.experiments.reports import Cell, Figure, Finding, Page, Section, Table, write_page
from modular_manifolds.experiments.robustness import Measured, Robustness, fraction
from modular_manifolds.experiments.robustness_plot import draw, draw_trade_off, trade_off
from modular_manifolds.experiments.robustness_table import by_method
from modular_manifolds.experiments.summary import Spread

_FEW = 3

_READING = (
    "A decision is certified up to margin / (√2 L), L being the network's Lipschitz constant from pixels to logits: no "
    "change of the image that is shorter can alter it. Projected gradient descent tries to; attacks do not clip pixels "
    "to their range. The true accuracy at a radius is between what is certified and what is left under attack."
)


def write_report(robustness: Robustness, data: Dataset, measured: Sequence[Measured]) -> dict[str, Path]:
    """Write the page and the figure; where to look, by what it is."""
    canvas = draw(measured)
    figure = plots.finish(
        "robustness",
        "Accuracy that is certified, and that is left under attack, against the radius of the change",
        "Mean over the seeds; of what is certified, the range is shaded.",
        canvas,
        _curves(measured),
    )
    trade_off_canvas = draw_trade_off(measured)
    at = fraction(min(robustness.radii))
    against_clean = plots.finish(
        "trade-off",
        f"Accuracy that is certified at {at}, and that is left under attack, against the clean accuracy",
        "Mean over the seeds. Methods that differ in the radius of their manifolds alone are joined.",
        trade_off_canvas,
        Table(
            ("method", "clean (%)", f"certified at {at} (%)", f"under attack at {at} (%)"),
            tuple((method, *trade_off(runs)) for method, runs in by_method(measured).items()),
        ),
    )
    trade_off_files = plots.write_files(against_clean, trade_off_canvas, robustness.out)
    page = report_page(robustness, data, measured, (figure, against_clean))
    return {
        **plots.write_files(figure, canvas, robustness.out),
        **{f"trade-off, {what}": path for what, path in trade_off_files.items()},
        **write_page(page, robustness.out),
    }


def report_page(
    robustness: Robustness, data: Dataset, measured: Sequence[Measured], figures: tuple[Figure, ...]
) -> Page:
    """What was measured, and what came out."""
    methods = by_method(measured)
    images = min(robustness.images, len(data.test))
    radius = min(robustness.radii)
    return Page(
        recipe="robustness",
        subject=f"{data.name}, {images:,} images, {len(measured)} networks",
        headline=_headline(methods, radius),
        findings=_large(methods, radius, sum(each.flips for each in measured)),
        sections=(
            Section("Certified and attacked", (_READING,), (_accuracies(methods),), figures),
            Section(
                "What the certificate is made of",
                ("The Lipschitz constant is the product of the spectral norms of the layers, the first in pixels.",),
                (_constants(measured),),
            ),
        ),
        settings=(
            ("data", f"{data.name}: the first {images:,} of {len(data.test):,} test images"),
            ("distance", "Euclidean, of images with pixels from 0 to 1"),
            ("attack", f"{robustness.steps} steps of projected gradient descent, begun {robustness.restarts} times"),
            ("networks", ", ".join(map(str, robustness.folders))),
            *machine_settings(str(robustness.threads)),
        ),
        command=robustness.command(),
    )


def _headline(methods: Mapping[str, Sequence[Measured]], radius: float) -> str:
    """Of few methods every one, of many the ends."""
    certified = {method: _certified(runs, radius) for method, runs in methods.items()}
    if len(certified) > _FEW:
        order = sorted(certified, key=lambda method: -certified[method].mean)
        certified = {
            f"most for {order[0]},": certified[order[0]],
            f"least of {len(order)} methods for {order[-1]},": certified[order[-1]],
        }
    shown = "; ".join(f"{method} {spread.text(1)} %" for method, spread in certified.items())
    return f"Test accuracy that is certified for every change up to {fraction(radius)}: {shown}."


def _large(methods: Mapping[str, Sequence[Measured]], radius: float, flips: int) -> tuple[Finding, ...]:
    each = tuple(
        Finding(f"{_certified(runs, radius).mean:.1f} %", f"certified at {fraction(radius)}, {method}")
        for method, runs in methods.items()
    )
    verdict = "none: no attack contradicts a certificate" if flips == 0 else "the certificate is WRONG"
    return (*each, Finding(str(flips), f"certified decisions that an attack changed ({verdict})"))


def _certified(runs: Sequence[Measured], radius: float) -> Spread:
    return Spread.of(at.certified for run in runs for at in run.at if at.radius == radius)


def _accuracies(methods: Mapping[str, Sequence[Measured]]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for method, runs in methods.items():
        clean = (Spread.of(run.accuracy for run in runs), Spread.of(run.accuracy_of_all for run in runs))
        rows.append((method, "0", clean[0].text(1), clean[0].text(1), clean[1].text(1)))
        for i, at in enumerate(runs[0].at):
            measured = [run.at[i] for run in runs]
            spreads = (
                Spread.of(each.certified for each in measured),
                Spread.of(each.attacked for each in measured),
                Spread.of(each.certified_of_all for each in measured),
            )
            rows.append((method, fraction(at.radius), *(spread.text(1) for spread in spreads)))
    columns = ("method", "radius", "certified (%)", "left under attack (%)", "certified, of all test images (%)")
    return Table(columns, tuple(rows))


def _constants(measured: Sequence[Measured]) -> Table:
    layers = max(len(each.layer_norms) for each in measured)
    rows = [
        (
            each.method,
            each.lr,
            each.seed,
            each.accuracy_of_all,
            each.lipschitz,
            *each.layer_norms,
            *(None,) * (layers - len(each.layer_norms)),
            each.flips,
        )
        for each in measured
    ]
    columns = ("method", "lr", "seed", "test accuracy (%)", "Lipschitz constant")
    return Table(
        (*columns, *(f"layer {i}" for i in range(1, layers + 1)), "certified, yet changed"),
        tuple(rows),
    )


def _curves(measured: Sequence[Measured]) -> Table:
    """The lines of every method: what is certified at many radii, what is left under attack at those attacked."""
    methods = by_method(measured)
    points = {measured[0].curve_step * point for point in range(len(measured[0].curve))}
    radii = sorted(points | {at.radius for at in measured[0].at})
    columns = [f"{method}, {what} (%)" for method in methods for what in ("certified", "under attack")]
    rows = tuple((255 * radius, *(cell for runs in methods.values() for cell in _at(runs, radius))) for radius in radii)
    return Table(("radius, in 255ths", *columns), rows)


def _at(runs: Sequence[Measured], radius: float) -> tuple[Cell, Cell]:
    """Means over the seeds; None where it was not attacked."""
    attacks = [at for run in runs for at in run.at if at.radius == radius]
    if attacks:
        return fmean(at.certified for at in attacks), fmean(at.attacked for at in attacks)
    if radius == 0:
        accuracy = fmean(run.accuracy for run in runs)
        return accuracy, accuracy
    return fmean(run.curve[round(radius / run.curve_step)] for run in runs), None

"""What the study of flatness found, as a page and on a terminal."""

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.ticker import LogLocator, NullLocator

from modular_manifolds.experiments.files import write_atomically
from modular_manifolds.experiments.flatness.study import Flatness, Measured, Outcome
from modular_manifolds.experiments.plots import PLAIN_NUMBERS, open_axes
from modular_manifolds.experiments.reports import Cell, Figure, Page, Section, Table, write_page
from modular_manifolds.experiments.study_table import Text
from modular_manifolds.experiments.summary import Spread
from modular_manifolds.experiments.svg import INK, standalone, to_svg

_MEASURES: tuple[tuple[str, Callable[[Outcome], float]], ...] = (
    ("top eigenvalue", lambda outcome: outcome.plain),
    ("top eigenvalue along the manifold", lambda outcome: outcome.tangent),
    ("modular sharpness", lambda outcome: outcome.modular),
)
_COLORS = ("#3b82f6", "#0d9488", "#e07a1f")
_SIZE = (6.4, 3.4)
_DIGITS = 3

_WORDS = (
    "The top eigenvalue of the Hessian is the largest second derivative of the training loss along an update of "
    "Euclidean length 1; along the manifold, of a tangent one, the loss going along a geodesic.",
    "Modular sharpness is the largest second derivative along a tangent update of modular norm 1, which is that of "
    "the plan of the network: every layer's RMS operator norm over its share, the same for every method. What is "
    "reported is the best of several ascents, a lower bound.",
    "Both depend on how large the weights are, which methods differ in: where a layer's weights are twice as long "
    "and the next one's half, a ReLU network computes the same, and its second derivatives are others.",
)


def by_method(measured: Measured) -> dict[str, list[Outcome]]:
    """The runs of every method, a seed each."""
    gathered: dict[str, list[Outcome]] = {}
    for trial, outcome in measured.items():
        gathered.setdefault(trial.method, []).append(outcome)
    return gathered


def flatness_table(measured: Measured) -> Text:
    """Mean and deviation over the seeds, a row a method."""
    lrs = {trial.method: trial.lr for trial in measured}
    rows = []
    for method, outcomes in by_method(measured).items():
        spreads = [_text(Spread.of(measure(each) for each in outcomes)) for _, measure in _MEASURES]
        loss = Spread.of(each.loss for each in outcomes).text(4)
        accuracy = Spread.of(each.test_accuracy for each in outcomes).text(2)
        rows.append((method, f"{lrs[method]:g}", *spreads, loss, accuracy))
    columns = ("method", "lr", "top", "along", "modular", "loss", "test, %")
    return Text("second derivatives: top eigenvalue, along the manifold, modular sharpness", columns, tuple(rows))


def write_report(flatness: Flatness, measured: Measured, data: str, images: int) -> dict[str, Path]:
    """report.html, its figure and page.json; where to look, by what it is."""
    drawing = _draw(measured)
    text = flatness_table(measured)
    columns = ("method", "lr", *(name for name, _ in _MEASURES), "loss", "test accuracy, %")
    seeds = len({trial.seed for trial in measured})
    runs = Table(
        ("method", "lr", "seed", *(name for name, _ in _MEASURES), "loss", "length of gradient", "test accuracy, %"),
        tuple(
            (
                *(trial.method, trial.lr, trial.seed),
                *(measure(outcome) for _, measure in _MEASURES),
                *(outcome.loss, outcome.gradient, outcome.test_accuracy),
            )
            for trial, outcome in measured.items()
        ),
        "Every network. Largest residual of an eigenvalue, relative: "
        f"{max(_residual(outcome) for outcome in measured.values()):.1g}.",
    )
    figure = Figure(
        "flatness",
        "Second derivatives of the training loss at the end of training",
        "Bars: mean over the seeds, a point for every seed; logarithmic axis.",
        drawing,
        _bars(measured),
    )
    page = Page(
        recipe="flatness",
        subject=f"{data}, each method at its best learning rate, {seeds} seeds",
        headline=headline(measured),
        sections=(
            Section(
                "How flat",
                _WORDS,
                (Table(columns, text.rows, "Mean ± deviation over the seeds."),),
                (figure,),
            ),
            Section("Every network", (), (runs,), folded=True),
        ),
        settings=(
            ("data", data),
            ("images", f"{images:,} training images"),
            ("products", f"at most {flatness.steps} with the Hessian for each eigenvalue and each ascent"),
        ),
        command=flatness.command(),
    )
    paths = write_page(page, flatness.out)
    svg = flatness.out / "flatness.svg"
    write_atomically(svg, standalone(drawing).encode())
    return {**paths, "figure": svg}


def headline(measured: Measured) -> str:
    """The flattest and the sharpest method, by each measure."""
    methods = by_method(measured)
    parts = []
    for name, measure in _MEASURES:
        means = {method: Spread.of(map(measure, outcomes)).mean for method, outcomes in methods.items()}
        low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
        parts.append(f"{name} from {means[low]:.3g} ({low}) to {means[high]:.3g} ({high})")
    return "Mean " + "; ".join(parts) + "."


def _residual(outcome: Outcome) -> float:
    return max(outcome.plain_residual / abs(outcome.plain), outcome.tangent_residual / abs(outcome.tangent))


def _text(spread: Spread) -> str:
    mean = f"{spread.mean:.{_DIGITS}g}"
    return f"{mean} ± {spread.std:.2g}" if spread.count > 1 else mean


def _bars(measured: Measured) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for method, outcomes in by_method(measured).items():
        for name, measure in _MEASURES:
            spread = Spread.of(measure(outcome) for outcome in outcomes)
            rows.append((method, name, spread.mean, spread.std, spread.count))
    return Table(("method", "measure", "mean", "deviation", "seeds"), tuple(rows))


def _draw(measured: Measured) -> str:
    methods = by_method(measured)
    width = 0.8 / len(_MEASURES)
    with open_axes(_SIZE) as (figure, axes):
        for i, (name, measure) in enumerate(_MEASURES):
            values = [[measure(outcome) for outcome in outcomes] for outcomes in methods.values()]
            places = [place + (i - 1) * width for place in range(len(methods))]
            axes.bar(places, [_mean(each) for each in values], width, color=_COLORS[i], label=name)
            for place, each in zip(places, values, strict=True):
                axes.plot([place] * len(each), each, "o", color=INK, markersize=2.5)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(PLAIN_NUMBERS)
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xticks(range(len(methods)), list(methods))
        axes.tick_params(axis="x", length=0)
        axes.grid(visible=False, axis="x")
        axes.set_ylabel("second derivative of the loss")
        figure.legend(loc="outside lower center", ncols=len(_MEASURES))
        return to_svg(figure, "flatness", "Top Hessian eigenvalues and modular sharpness of every method.")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

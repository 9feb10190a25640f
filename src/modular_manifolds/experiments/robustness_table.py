"""What was measured of robustness, for a terminal and for a page."""

from collections.abc import Sequence

from modular_manifolds.experiments.robustness import Measured, fraction
from modular_manifolds.experiments.study_table import Text
from modular_manifolds.experiments.summary import Spread


def by_method(measured: Sequence[Measured]) -> dict[str, list[Measured]]:
    """The runs of every method, a seed each."""
    gathered: dict[str, list[Measured]] = {}
    for each in measured:
        gathered.setdefault(each.method, []).append(each)
    return gathered


def robustness_table(measured: Sequence[Measured]) -> Text:
    """A row for what is certified and one for what is left under attack: mean and deviation over the seeds."""
    radii = [fraction(at.radius) for at in measured[0].at]
    rows = []
    for method, runs in by_method(measured).items():
        certified = [[run.accuracy, *(at.certified for at in run.at)] for run in runs]
        attacked = [[run.accuracy, *(at.attacked for at in run.at)] for run in runs]
        rows.append((method, "certified", *_spreads(certified)))
        rows.append((method, "attacked", *_spreads(attacked)))
    return Text("accuracy in %, by Euclidean radius in pixels", ("method", "", "0", *radii), tuple(rows))


def closing_lines(measured: Sequence[Measured], images: int, of: int) -> list[str]:
    """What to know for reading the table: `images` were attacked, out of `of`."""
    flips = sum(run.flips for run in measured)
    verdict = "none" if flips == 0 else f"{flips}: the certificate is WRONG"
    methods = by_method(measured).items()
    whole = [
        (method, [[r.accuracy_of_all, *(at.certified_of_all for at in r.at)] for r in runs]) for method, runs in methods
    ]
    return [
        f"of the first {images} of {of} test images; attacks do not clip pixels to their range",
        *(f"    certified of all, {method}: {', '.join(_spreads(rows))}" for method, rows in whole if images < of),
        "Lipschitz constant from pixels to logits, the product of the layers' spectral norms:",
        *(f"    {_constant(method, runs)}" for method, runs in methods),
        f"certified decisions that an attack changed: {verdict}",
    ]


def _spreads(rows: Sequence[Sequence[float]]) -> list[str]:
    return [Spread.of(column).text(1) for column in zip(*rows, strict=True)]


def _constant(method: str, runs: Sequence[Measured]) -> str:
    norms = " x ".join(_range(layer) for layer in zip(*(run.layer_norms for run in runs), strict=True))
    seeds = "1 seed" if len(runs) == 1 else f"{len(runs)} seeds"
    return f"{method}, lr {runs[0].lr:g}, {seeds}: {_range([run.lipschitz for run in runs])} = {norms}"


def _range(norms: Sequence[float]) -> str:
    low, high = f"{min(norms):.4g}", f"{max(norms):.4g}"
    return low if low == high else f"{low} to {high}"

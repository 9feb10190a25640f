"""The report of a comparison: one HTML file that needs nothing else, and its figures as files."""

import platform
from collections.abc import Iterable
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from modular_manifolds.experiments import plots, svg
from modular_manifolds.experiments.comparison import Comparison, Finished, versions
from modular_manifolds.experiments.data import Dataset
from modular_manifolds.experiments.files import write_atomically
from modular_manifolds.experiments.findings import findings, headline, subject
from modular_manifolds.experiments.methods import METHODS
from modular_manifolds.experiments.summary import best_by_method, group_by_lr


def write_report(finished: Finished) -> Path:
    """Write report.html and plots/*.svg into the comparison's folder; the path of the former."""
    out = finished.comparison.out
    figures = draw(finished)
    for plot in figures:
        write_atomically(out / "plots" / f"{plot.name}.svg", svg.standalone(plot.drawing).encode())
    path = out / "report.html"
    write_atomically(path, render(finished, figures).encode())
    return path


def draw(finished: Finished) -> list[plots.Plot]:
    """All figures."""
    best = best_by_method(finished.results.values())
    shown = {(group.method, group.lr, group.results[0].seed) for group in best.values()}
    weights = {
        run.method: finished.store.weights(run)
        for run in finished.results
        if (run.method, run.lr, run.seed) in shown
    }
    return [
        plots.accuracy_against_lr(group_by_lr(finished.results.values())),
        plots.step_time(best),
        *plots.loss_curves(best),
        *plots.singular_value_histograms(weights),
    ]


def render(finished: Finished, figures: Iterable[plots.Plot]) -> str:
    """The page."""
    environment = Environment(
        loader=PackageLoader("modular_manifolds.experiments"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    comparison = finished.comparison
    results = list(finished.results.values())
    best = best_by_method(results)
    return environment.get_template("report.html.j2").render(
        comparison=comparison,
        results=results,
        best=best,
        subject=subject(best),
        muon=best.get("muon"),
        headline=headline(best),
        findings=findings(best),
        plots=figures,
        grid_sizes=sorted({len(groups) for groups in group_by_lr(results).values()}),
        methods=[(name, METHODS[name].summary, METHODS[name].settings(comparison.momentum)) for name in best],
        settings=_settings(comparison, finished.data),
    )


def _settings(comparison: Comparison, data: Dataset) -> list[tuple[str, str]]:
    sizes = [data.features, *comparison.widths, data.classes]
    return [
        ("data", f"{data.name}: {len(data.train):,} training and {len(data.test):,} test images in [-1, 1]"),
        ("network", f"{'-'.join(map(str, sizes))}, ReLU, no biases"),
        ("training", f"{comparison.epochs} epochs, batches of {comparison.batch_size}, cross-entropy"),
        ("learning rate", "falls linearly to 0, step by step"),
        ("momentum", f"{comparison.momentum:g} for the methods on a manifold; muon and adamw as shipped"),
        ("seeds", str(comparison.seeds)),
        ("threads", str(comparison.threads)),
        (
            "software",
            f"{versions()}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        ),
    ]

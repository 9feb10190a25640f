"""The report of a comparison: one HTML file that needs nothing else, and its figures as files."""

import platform
from collections.abc import Sequence
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
    training, spectra = draw_training(finished), draw_spectra(finished)
    for plot in training + spectra:
        write_atomically(out / "plots" / f"{plot.name}.svg", svg.standalone(plot.drawing).encode())
    path = out / "report.html"
    write_atomically(path, render(finished, training, spectra).encode())
    return path


def draw_training(finished: Finished) -> list[plots.Plot]:
    """How well and how fast every method trains."""
    groups = group_by_lr(finished.results.values())
    best = best_by_method(finished.results.values())
    return [plots.accuracy_against_lr(groups), plots.step_time(best), *plots.loss_curves(best)]


def draw_spectra(finished: Finished) -> list[plots.Plot]:
    """The singular values that every method ends with."""
    best = best_by_method(finished.results.values())
    shown = {(group.method, group.lr, group.results[0].seed) for group in best.values()}
    weights = {
        run.method: finished.store.weights(run) for run in finished.results if (run.method, run.lr, run.seed) in shown
    }
    return plots.singular_value_histograms(weights)


def render(finished: Finished, training: Sequence[plots.Plot], spectra: Sequence[plots.Plot]) -> str:
    """The page, with these figures."""
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
    settings = {run.method: run.optimizer for run in finished.results}
    return environment.get_template("report.html.j2").render(
        comparison=comparison,
        results=results,
        best=best,
        subject=subject(best),
        muon=best.get("muon"),
        headline=headline(best),
        findings=findings(best),
        training=training,
        spectra=spectra,
        grid_sizes=sorted({len(groups) for groups in group_by_lr(results).values()}),
        methods=[(name, METHODS[name].summary, settings[name]) for name in best],
        settings=_settings(comparison, finished.data),
    )


def _settings(comparison: Comparison, data: Dataset) -> list[tuple[str, str]]:
    low, high = data.train.inputs.min(), data.train.inputs.max()
    sizes = [data.features, *comparison.widths, data.classes]
    return [
        ("data", f"{data.name}: {len(data.train):,} training, {len(data.test):,} test images"),
        ("pixels", f"from {low:g} to {high:g}"),
        ("network", f"{'-'.join(map(str, sizes))}, ReLU, no biases"),
        ("training", f"{comparison.epochs} epochs, batches of {comparison.batch_size}, cross-entropy"),
        ("learning rate", "falls linearly to 0, step by step"),
        ("momentum", f"{comparison.momentum:g} for the methods on a manifold; muon and adamw as shipped"),
        ("seeds", str(comparison.seeds)),
        ("software", f"{versions()}, Python {platform.python_version()}"),
        ("system", f"{platform.system()} {platform.machine()}"),
        ("threads", _threads(comparison)),
    ]


def _threads(comparison: Comparison) -> str:
    if comparison.nproc == 1:
        return str(comparison.threads)
    return f"{comparison.threads} in each of {comparison.nproc} processes, which share every batch"

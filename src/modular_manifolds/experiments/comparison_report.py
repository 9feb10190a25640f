"""The report of a comparison."""

from collections.abc import Mapping
from pathlib import Path

from modular_manifolds.experiments import plots
from modular_manifolds.experiments.comparison import Comparison, Finished
from modular_manifolds.experiments.data import Dataset
from modular_manifolds.experiments.findings import findings, headline, subject
from modular_manifolds.experiments.methods import method_of
from modular_manifolds.experiments.report_settings import comparison_settings, machine_settings
from modular_manifolds.experiments.reports import Cell, Figure, Page, Section, Table, write_page
from modular_manifolds.experiments.results import Result
from modular_manifolds.experiments.summary import Group, best_by_method, group_by_lr

_WHAT_IS_MEASURED = (
    "Seconds are time spent training, without evaluation; optimizer time is spent inside optimizer.step() alone. The "
    "distance from Stiefel is the largest |singular value − 1| of any layer and seed, from float64 singular values; it "
    "is given for every method, also for those that do not try to make it small."
)


def write_report(finished: Finished) -> Path:
    """Write the page into the comparison's folder; where it is."""
    return write_page(report_page(finished), finished.comparison.out)["report"]


def report_page(finished: Finished) -> Page:
    """What was compared, and what came out."""
    comparison = finished.comparison
    results = list(finished.results.values())
    best = best_by_method(results)
    return Page(
        recipe="compare",
        subject=f"{comparison.data}, {len(results)} runs",
        headline=headline(best),
        findings=findings(best),
        sections=(
            Section(
                "Each method at its best learning rate",
                (_how_chosen(comparison, group_by_lr(results)), _WHAT_IS_MEASURED),
                (_best_table(best),),
            ),
            Section("Training", figures=draw_training(finished)),
            Section("Singular values at the end", figures=draw_spectra(finished)),
            Section("The methods", tables=(_methods_table(finished, best),), folded=True),
            Section(
                f"All {len(results)} runs",
                ("A row each, the same as in results.json.",),
                (_runs_table(results),),
                folded=True,
            ),
        ),
        settings=_settings(comparison, finished.data),
        command=comparison.command(),
    )


def draw_training(finished: Finished) -> tuple[Figure, ...]:
    """How well and how fast every method trains."""
    groups = group_by_lr(finished.results.values())
    best = best_by_method(finished.results.values())
    return (plots.accuracy_against_lr(groups), plots.step_time(best), *plots.loss_curves(best))


def draw_spectra(finished: Finished) -> tuple[Figure, ...]:
    """The singular values that every method ends with."""
    best = best_by_method(finished.results.values())
    shown = {(group.method, group.lr, group.results[0].seed) for group in best.values()}
    weights = {
        run.method: finished.store.weights(run) for run in finished.results if (run.method, run.lr, run.seed) in shown
    }
    return tuple(plots.singular_value_histograms(weights))


def _how_chosen(comparison: Comparison, groups: Mapping[str, list[Group]]) -> str:
    sizes = sorted({len(by_lr) for by_lr in groups.values()})
    text = "The same network, initial weights and batches for every method of a seed. "
    if sizes == [1]:
        text += "One learning rate was tried for each method."
    else:
        text += (
            f"The learning rate is the one of highest mean test accuracy among {' or '.join(map(str, sizes))} tried "
            "for a method: chosen on the test set, so every accuracy here is a little flattered."
        )
    if comparison.seeds > 1:
        text += f" Mean ± standard deviation over {comparison.seeds} seeds."
    return text


def _best_table(best: Mapping[str, Group]) -> Table:
    muon = best.get("muon")
    columns = ["method", "lr", "test accuracy (%)", "train accuracy (%)", "test loss", "train loss", "seconds"]
    columns += ["optimizer ms/step", *(["ratio to muon"] if muon else [])]
    columns += ["smallest singular value", "largest", "distance from Stiefel"]
    rows: list[tuple[Cell, ...]] = []
    for method, group in best.items():
        ratio = (group.step_milliseconds / muon.step_milliseconds,) if muon else ()
        rows.append(
            (
                method,
                group.lr,
                group.test_accuracy.text(2),
                group.spread("train_accuracy").text(2),
                group.spread("test_loss").text(3),
                group.spread("train_loss").text(3),
                group.spread("seconds").text(2),
                group.step_milliseconds,
                *ratio,
                *group.singular_value_range,
                group.violation,
            )
        )
    return Table(tuple(columns), tuple(rows), highlight=(list(best).index(subject(best).method),))


def _methods_table(finished: Finished, best: Mapping[str, Group]) -> Table:
    settings = {run.method: run.optimizer for run in finished.results}
    rows = tuple((name, method_of(name).summary, settings[name]) for name in best)
    return Table(("method", "what it does", "settings"), rows)


def _runs_table(results: list[Result]) -> Table:
    columns = ("method", "lr", "seed", "test accuracy (%)", "train accuracy (%)", "test loss", "train loss", "seconds")
    rows = tuple(
        (
            result.method,
            result.lr,
            result.seed,
            result.test_accuracy,
            result.train_accuracy,
            result.test_loss,
            result.train_loss,
            result.seconds,
            result.optimizer_seconds,
            result.violation,
        )
        for result in results
    )
    return Table((*columns, "optimizer seconds", "distance from Stiefel"), rows)


def _settings(comparison: Comparison, data: Dataset) -> tuple[tuple[str, str], ...]:
    return (
        *comparison_settings(comparison, data),
        ("momentum", f"{comparison.momentum:g} for the methods on a manifold; muon and adamw as shipped"),
        *machine_settings(_threads(comparison)),
    )


def _threads(comparison: Comparison) -> str:
    if comparison.nproc == 1:
        return str(comparison.threads)
    return f"{comparison.threads} in each of {comparison.nproc} processes, which share every batch"

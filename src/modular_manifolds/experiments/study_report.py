"""The report of a study of geometries: which manifold and norm suit which layer."""

from math import inf, isnan
from pathlib import Path
from statistics import fmean

from modular_manifolds.experiments import plots
from modular_manifolds.experiments.candidates import CANDIDATES
from modular_manifolds.experiments.data import Dataset
from modular_manifolds.experiments.report_settings import machine_settings
from modular_manifolds.experiments.reports import Cell, Figure, Finding, Page, Section, Table, write_page
from modular_manifolds.experiments.study import HELD_OUT, Study
from modular_manifolds.experiments.study_findings import ALL, Findings
from modular_manifolds.experiments.study_findings import Cell as Tried
from modular_manifolds.experiments.study_plot import draw
from modular_manifolds.experiments.study_table import PLAIN, TOGETHER, closing_lines

_READING = (
    "One layer at a time has the geometry, the others the reference; then all layers have it; then each layer has the "
    "one of highest held-out accuracy on it. A learning rate is a multiple of a geometry's natural scale, at which an "
    "update is as long as a point of the Stiefel manifold; that, too, is chosen on held-out images, so that test "
    "accuracies are only reported."
)


def write_report(study: Study, data: Dataset, findings: Findings) -> dict[str, Path]:
    """Write the page and the figure; where to look, by what it is."""
    canvas = draw(findings)
    figure = plots.finish(
        "accuracy",
        "Test accuracy of every manifold and norm, on each layer and on all layers at once",
        "A small dot a seed, a large one for their mean. The line is the reference on every layer, the noise around it "
        "shaded: means that differ by less may be equal.",
        canvas,
        _seeds(findings),
    )
    page = report_page(study, data, findings, figure)
    return {**plots.write_files(figure, canvas, study.out), **write_page(page, study.out)}


def report_page(study: Study, data: Dataset, findings: Findings, figure: Figure) -> Page:
    """What was tried, and what came out."""
    return Page(
        recipe="geometries",
        subject=f"{study.data}, {len(findings.candidates)} geometries",
        headline=_headline(findings),
        findings=_large(findings),
        sections=(
            Section("Test accuracy", (_READING, *_sentences(findings)), (_accuracies(findings),), (figure,)),
            Section(
                "What a geometry costs, and what it takes away",
                (
                    "Processor time of an optimizer step of the whole network; the share of each layer's degrees of "
                    "freedom that the manifold removes; and the largest distance of a weight from its manifold.",
                ),
                (_costs(findings),),
            ),
        ),
        settings=(
            (
                "data",
                f"{study.data}: {len(data.train):,} training images, one in {HELD_OUT} of them held out for choices",
            ),
            ("test images", f"{len(data.test):,}"),
            ("layers", ", ".join(f"{m} x {n}" for m, n in findings.shapes)),
            (
                "training",
                f"{study.epochs} epochs, batches of {study.batch_size}; {study.search_epochs} to choose a rate",
            ),
            ("seeds", f"{study.seeds}, and another one to choose rates"),
            *machine_settings(str(study.threads)),
        ),
        command=study.command(),
    )


def _headline(findings: Findings) -> str:
    accuracies = {name: findings.cells[ALL, name].test_accuracy for name in findings.candidates}
    best = max(accuracies, key=lambda name: -inf if isnan(accuracies[name].mean) else accuracies[name].mean)
    difference = findings.together.test_accuracy.mean - findings.reference.test_accuracy.mean
    change = "makes it diverge" if isnan(difference) else f"changes its accuracy by {difference:+.2f} points"
    return (
        f"On all layers at once, {best} is the most accurate of {len(accuracies)} geometries at "
        f"{accuracies[best].text(2)} %; beside {PLAIN}, each layer's best geometry {change}."
    )


def _large(findings: Findings) -> tuple[Finding, ...]:
    rows = {TOGETHER: findings.together, PLAIN: findings.reference}
    found = [Finding(f"{cell.test_accuracy.text(2)} %", f"test accuracy, {name}") for name, cell in rows.items()]
    if len(findings.reference.outcomes) > 1:
        found.append(Finding(f"{findings.noise(ALL):.2f}", "points by which equal geometries on all layers may differ"))
    return tuple(found)


def _sentences(findings: Findings) -> tuple[str, ...]:
    return tuple(f"{line[0].upper()}{line[1:]}." for line in closing_lines(findings))


def _accuracies(findings: Findings) -> Table:
    columns = ["manifold x norm"]
    for layer in findings.layers:
        columns += [f"{findings.heading(layer)}: test accuracy (%)", *(["multiple"] if layer != ALL else [])]
    rows: list[tuple[Cell, ...]] = []
    for name in findings.candidates:
        row: list[Cell] = [name]
        for layer in findings.layers:
            cell = findings.cells[layer, name]
            row.append(cell.test_accuracy.text(2))
            if isinstance(layer, int):
                row.append(cell.choices[layer].multiple)
        rows.append(tuple(row))
    blank = (None,) * (2 * len(findings.shapes))
    rows.append((TOGETHER, *blank, findings.together.test_accuracy.text(2)))
    rows.append((PLAIN, *blank, findings.reference.test_accuracy.text(2)))
    return Table(tuple(columns), tuple(rows), highlight=(len(rows) - 2,))


def _costs(findings: Findings) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name in findings.candidates:
        outcomes = findings.cells[ALL, name].outcomes
        rows.append(
            (
                name,
                fmean(outcome.step_milliseconds for outcome in outcomes),
                *(100 * CANDIDATES[name].removed(*shape) for shape in findings.shapes),
                max(outcome.violation for outcome in outcomes),
            )
        )
    removed = [f"layer {i}: freedom removed (%)" for i in range(1, len(findings.shapes) + 1)]
    return Table(("manifold x norm", "ms per step", *removed, "violation"), tuple(rows))


def _seeds(findings: Findings) -> Table:
    tried: dict[tuple[str, str], Tried] = {
        **{(findings.heading(layer), name): cell for (layer, name), cell in findings.cells.items()},
        (ALL, TOGETHER): findings.together,
        (ALL, PLAIN): findings.reference,
    }
    rows = [
        (where, name, seed, outcome.test_accuracy, outcome.held_out_accuracy)
        for (where, name), cell in tried.items()
        for seed, outcome in enumerate(cell.outcomes, start=1)
    ]
    return Table(("layer", "manifold x norm", "seed", "test accuracy (%)", "held-out accuracy (%)"), tuple(rows))

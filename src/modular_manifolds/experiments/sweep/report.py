"""The report of a sweep."""

import math

from rich.table import Table as RichTable

from modular_manifolds.experiments.reports import Finding, Page, Section, Table
from modular_manifolds.experiments.results import plain
from modular_manifolds.experiments.sweep.drawing import (
    Looks,
    against_lr,
    by_layer,
    good_ranges,
    held_out_loss,
    spectra_over_time,
    training_loss,
)
from modular_manifolds.experiments.sweep.findings import REFERENCE, Curve, Findings, Range
from modular_manifolds.experiments.sweep.formats import WeightFormat
from modular_manifolds.experiments.sweep.study import Data, Sweep


def page_of(sweep: Sweep, data: Data, findings: Findings) -> Page:
    """All that there is to say."""
    first = findings.formats[0]
    looks = Looks(findings.methods)
    sections = [_scores(findings, weights, looks) for weights in findings.formats]
    if len(findings.formats) > 1:
        sections.append(_formats(findings))
    sections += [_training(findings, first, looks), *_inside(findings, first, looks), _all_trials(findings)]
    best = findings.best_of(first)
    leader = min(best.values(), key=lambda curve: curve.best_cost)
    widest = max(best.values(), key=lambda curve: 0.0 if curve.good is None else curve.good.width)
    reference = findings.best(REFERENCE, first) if REFERENCE in best else None
    return Page(
        recipe="sweep",
        subject=f"{sweep.data}, {len(findings.methods)} methods, {_count(sweep.seeds, 'seed')}",
        headline=_headline(findings, leader, reference),
        sections=tuple(sections),
        settings=tuple((name, str(value)) for name, value in plain(sweep.settings(data)).items()),
        command=sweep.command(),
        findings=(
            Finding(_score(leader), f"best {findings.measure.name}, by {leader.method}"),
            *(() if reference is None or reference is leader else (Finding(_score(reference), f"{REFERENCE}'s best"),)),
            *(() if widest.good is None else (Finding(widest.good.text, f"widest good range, {widest.method}'s"),)),
            *(
                ()
                if reference is None or reference.good is None
                else (Finding(reference.good.text, f"{REFERENCE}'s good range"),)
            ),
            Finding(
                f"{sum(c.diverged for c in findings.curves)} of {sum(c.trials for c in findings.curves)}",
                "trials diverged",
            ),
        ),
    )


def best_table(findings: Findings) -> RichTable:
    """The best of every method and format, as the terminal shows it."""
    measure = findings.measure
    table = RichTable(title=f"best learning rate of each method, by mean {measure.name}; good: {measure.goodness}")
    table.add_column("method", no_wrap=True)
    for heading in ("weights", "lr", measure.name, "good", "diverged"):
        table.add_column(heading, justify="right")
    for weights in findings.formats:
        for method, curve in findings.best_of(weights).items():
            row = (str(weights), f"{curve.best:.3g}", _score(curve), _range(curve.good) or "-")
            table.add_row(method, *row, _diverged(findings, method, weights))
    return table


def _headline(findings: Findings, leader: Curve, reference: Curve | None) -> str:
    name = findings.measure.name
    text = f"{leader.method} reaches the best {name}, {_score(leader)} at learning rate {leader.best:.3g}"
    if reference is not None and leader is not reference:
        text += f"; {REFERENCE}'s best is {_score(reference)}"
    wide, narrow = leader.good, None if reference is None else reference.good
    if wide is not None and narrow is not None and leader is not reference:
        text += f". Good ranges: {leader.method}'s {wide.text} wide, {REFERENCE}'s {narrow.text}"
    return text + "."


def _scores(findings: Findings, weights: WeightFormat, looks: Looks) -> Section:
    columns, rows = _best_rows(findings, (weights,))
    measure = findings.measure
    text = (
        f"Good: {measure.goodness}; the range is what lies around the best rate with everything tried in it good, "
        "interpolated in the logarithm of the rate between the rates tried.",
        "The best rate is chosen by the same held-out data that it is reported on, so every method's best looks a "
        "little better than it is. A trial has diverged if its loss or a gradient was not finite, or if its final "
        f"training loss was above {findings.chance:.3f}, that of guessing all classes alike.",
    )
    table = Table(columns, rows, f"The best learning rate of each method, weights in {weights}")
    figures = (against_lr(findings, weights, looks), good_ranges(findings, weights, looks))
    title = f"{measure.name[0].upper()}{measure.name[1:]} against learning rate"
    if len(findings.formats) > 1:
        title += f", {weights}"
    return Section(title, text, (table,), figures)


def _best_rows(
    findings: Findings, formats: tuple[WeightFormat, ...]
) -> tuple[tuple[str, ...], tuple[tuple[str | float | int | None, ...], ...]]:
    measure = findings.measure
    columns = (
        "method",
        "weights",
        "best lr",
        "decay",
        measure.name + measure.unit,
        "±",
        "good from",
        "to",
        "width",
        f"better than {REFERENCE}'s best",
        "diverged",
    )
    rows = []
    for weights in formats:
        for method, curve in findings.best_of(weights).items():
            good = curve.good
            rows.append(
                (
                    method,
                    str(weights),
                    curve.best,
                    curve.weight_decay,
                    _finite(measure.shown(curve.best_cost)),
                    curve.spread(curve.best).std,
                    None if good is None else good.low,
                    None if good is None else good.high,
                    None if good is None else good.text,
                    _range(findings.beats_reference(curve)),
                    _diverged(findings, method, weights),
                )
            )
    return columns, tuple(rows)


def _formats(findings: Findings) -> Section:
    """Best score by format."""
    rows = []
    for method in findings.methods:
        curves = [findings.best(method, weights) for weights in findings.formats]
        scores = [_finite(findings.measure.shown(curve.best_cost)) for curve in curves]
        ranges = [None if curve.good is None else curve.good.text for curve in curves]
        rows.append((method, *(cell for pair in zip(scores, ranges, strict=True) for cell in pair)))
    columns = ("method", *(name for weights in findings.formats for name in (str(weights), "good range")))
    text = (
        "bfloat16 and fp8: the network computes with matrices rounded to the format, the optimizer steps float32 "
        "originals. bfloat16-pure: no originals, matrices are rounded after every step. fp8 is float8_e4m3fn with a "
        "scale for each matrix. Gains, activations, gradients and the optimizers' state are float32 throughout.",
    )
    table = Table(columns, tuple(rows), f"Best {findings.measure.name} and good range by format")
    return Section("Weights with few bits", text, (table,))


def _training(findings: Findings, weights: WeightFormat, looks: Looks) -> Section:
    best = findings.best_of(weights)
    figures = [training_loss(best, findings.chance, looks)]
    if all(outcomes[0].held_out_curve for curve in best.values() for outcomes in curve.outcomes.values()):
        figures.append(held_out_loss(best, findings.chance, looks))
    rows = []
    for method, curve in best.items():
        outcomes = curve.outcomes[curve.best]
        steps = [1000 * one.optimizer_seconds / one.steps for one in outcomes]
        off = [one.violation for one in outcomes if one.violation is not None]
        seconds = sum(one.seconds for one in outcomes) / len(outcomes)
        rows.append((method, seconds, sum(steps) / len(steps), max(off) if off else None))
    columns = ("method", "seconds a trial", "optimizer, ms a step", "off the manifold")
    caption = "Processor time, mean over the seeds; largest violation of a manifold at the end"
    table = Table(columns, tuple(rows), caption)
    return Section(f"Training at the best learning rate, {weights}", (), (table,), tuple(figures))


def _inside(findings: Findings, weights: WeightFormat, looks: Looks) -> list[Section]:
    """What goes on in the transformers; nothing of images."""
    insides = {
        method: inside
        for method, curve in findings.best_of(weights).items()
        if (inside := curve.outcomes[curve.best][0].inside) is not None
    }
    if not insides:
        return []
    stream = {method: inside.activation_rms for method, inside in insides.items() if inside.activation_rms}
    logits = {method: inside.attention_logits for method, inside in insides.items() if inside.attention_logits}
    figures = []
    if stream:
        title = "Size of the stream after each block"
        figures.append(by_layer("activations", title, "root mean square", stream, looks))
    if logits:
        title = "Largest attention logit in each block"
        figures.append(by_layer("attention-logits", title, "largest |logit|", logits, looks))
    figures += spectra_over_time(insides, looks)
    samples = tuple((method, inside.sample) for method, inside in insides.items())
    text = ("Written at temperature 0.8, with the same random numbers for every method.",)
    return [
        Section(f"Inside the networks, {weights}", (), (), tuple(figures)),
        Section("What they write", text, preformatted=samples),
    ]


def _all_trials(findings: Findings) -> Section:
    rows = []
    for curve in findings.curves:
        for lr, outcomes in curve.outcomes.items():
            for seed, one in enumerate(outcomes):
                loss = _finite(one.held_out_loss)
                made = (one.accuracy, loss, _finite(one.train_loss), "yes" if one.diverged else "", one.steps)
                rows.append((curve.method, str(curve.weights), lr, curve.weight_decay, seed, *made, one.seconds))
    columns = (
        "method",
        "weights",
        "lr",
        "decay",
        "seed",
        "accuracy, %",
        "held-out loss",
        "train loss",
        "diverged",
        "steps",
        "seconds",
    )
    return Section("All trials", (), (Table(columns, tuple(rows)),), folded=True)


def _score(curve: Curve) -> str:
    cost = curve.best_cost
    if not math.isfinite(cost):
        return "not finite"
    digits = 2 if curve.measure.unit else 3
    spread = f" ± {curve.spread(curve.best).std:.{digits}f}" if len(curve.outcomes[curve.best]) > 1 else ""
    return f"{curve.measure.shown(cost):.{digits}f}{spread}{curve.measure.unit}"


def _range(found: Range | None) -> str | None:
    return None if found is None else f"{found.low:.3g} to {found.high:.3g}, {found.text}"


def _diverged(findings: Findings, method: str, weights: WeightFormat) -> str:
    """How many trials did, at all weight decays."""
    every = [one for one in findings.curves if (one.method, one.weights) == (method, weights)]
    return f"{sum(one.diverged for one in every)} of {sum(one.trials for one in every)}"


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

"""The options of `modular-manifolds sweep`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from modular_manifolds.cli.options import DataDir, Seeds, names_of, numbers_of
from modular_manifolds.experiments.data import DataName
from modular_manifolds.experiments.defaults import DEFAULTS
from modular_manifolds.experiments.sweep.defaults import (
    TEXT_BATCH_SIZE,
    TEXT_STEPS,
    TEXT_WARMUP,
    lrs_of,
    methods_of,
    weight_decays_of,
)
from modular_manifolds.experiments.sweep.findings import REFERENCE
from modular_manifolds.experiments.sweep.formats import WeightFormat
from modular_manifolds.experiments.sweep.gpt import GPTShape, Positions
from modular_manifolds.experiments.sweep.image_course import ImageCourse
from modular_manifolds.experiments.sweep.text_course import TextCourse
from modular_manifolds.experiments.sweep.text_methods import TEXT_METHODS
from modular_manifolds.experiments.task import TaskName

EPILOG = """
Examples:

    [bold]modular-manifolds sweep[/]

    [bold]modular-manifolds sweep --data cifar10 --data-dir data --workers 4 --weight-decays 0,0.01,0.1[/]

    [bold]modular-manifolds sweep --data text --file shakespeare.txt --methods adamw,muon --lrs muon=0.01,0.02[/]

    [bold]modular-manifolds sweep --weights float32,bfloat16,fp8 --methods adamw,manifold-muon[/]

Stopped half-way? The same command with the same --out carries on. So does one with more learning rates, seeds, methods
or formats.
"""

_SHAPE = GPTShape()
_FORMATS = ", ".join(WeightFormat)
_IMAGES, _TEXT = "images", "text"


def sweep(
    data: Annotated[
        TaskName,
        typer.Option(help="The network of compare on digits or cifar10, or a GPT on the characters of a text."),
    ] = TaskName.DIGITS,
    data_dir: DataDir = None,
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The text. Default: Python's own standard library."),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help=f"On images, which of: {', '.join(methods_of(TaskName.DIGITS))}. On text, which of: "
            f"{', '.join(methods_of(TaskName.TEXT))}. Default: all.",
        ),
    ] = None,
    lrs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X,Y | METHOD=X,Y",
            help="Learning rates, of all methods or of one; may be given several times. Default: each method's own, on "
            "images nine a factor of 2 apart.",
        ),
    ] = None,
    weight_decays: Annotated[
        str | None,
        typer.Option(metavar="X,Y", help=f"Of {REFERENCE}. Default: 0.01, as it ships, or 0.1 on text, as in nanoGPT."),
    ] = None,
    seeds: Seeds = 3,
    weights: Annotated[
        str,
        typer.Option(metavar="A,B", help=f"Formats in which matrices are stored (simulated), of {_FORMATS}."),
    ] = WeightFormat.FLOAT32.value,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of a trial on images. Default: those of compare.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help=f"Of a trial on text. Default: {TEXT_STEPS}.")] = None,
    warmup: Annotated[
        int | None,
        typer.Option(
            min=0,
            help=f"Steps in which the rate rises, to fall to 0 then. Default: 0, or {TEXT_WARMUP} on text.",
        ),
    ] = None,
    power: Annotated[
        float,
        typer.Option(min=0.01, max=100, help="How the rate falls: like (1 - t)^POWER, t from 0 to 1. 1 is linearly."),
    ] = 1.0,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help=f"Default: that of compare, or {TEXT_BATCH_SIZE} on text.")
    ] = None,
    momentum: Annotated[
        float | None,
        typer.Option(min=0, max=0.9999, help="On images, of the methods on a manifold. Default: 0, as in the blog."),
    ] = None,
    widths: Annotated[
        str | None, typer.Option(metavar="N,M", help="Of the hidden layers, on images. Default: those of compare.")
    ] = None,
    layers: Annotated[int | None, typer.Option(min=1, help=f"Blocks, on text. Default: {_SHAPE.layers}.")] = None,
    heads: Annotated[int | None, typer.Option(min=1, help=f"On text. Default: {_SHAPE.heads}.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help=f"Features, on text. Default: {_SHAPE.width}.")] = None,
    positions: Annotated[
        Positions | None,
        typer.Option(help=f"On text, of the methods with nanoGPT's network. Default: {_SHAPE.positions}, as there."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of torch, in every process.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Processes that train side by side.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for everything written. Default: runs/sweep-DATA."),
    ] = None,
) -> None:
    """Find how good every method gets, and over how wide a range of learning rates it stays good.

    Every learning rate x method x seed x format of the weights is a trial; those that diverge are counted. Writes
    results.json and report.html, with its plots, into --out.
    """
    from modular_manifolds.cli.sweep import run_study
    from modular_manifolds.experiments.sweep.study import Sweep

    if data_dir is not None and data is not TaskName.CIFAR10:
        raise typer.BadParameter(f"is for cifar10 only; {data} needs no such files", param_hint="--data-dir")
    is_text = data is TaskName.TEXT
    _refuse(_IMAGES, is_text, {"--epochs": epochs, "--momentum": momentum, "--widths": widths})
    sizes = {"--layers": layers, "--heads": heads, "--width": width, "--positions": positions}
    _refuse(_TEXT, not is_text, {"--file": file, "--steps": steps, **sizes})
    known = tuple(methods_of(data))
    chosen = known if methods is None else names_of(methods, known, "--methods")
    if weight_decays is not None and REFERENCE not in chosen:
        raise typer.BadParameter(f"is {REFERENCE}'s, which is not among the methods", param_hint="--weight-decays")
    course: ImageCourse | TextCourse
    if is_text:
        fixed = [name for name in chosen if positions not in (None, TEXT_METHODS[name].positions or positions)]
        if fixed:
            raise typer.BadParameter(f"{', '.join(fixed)}: has others of its own", param_hint="--positions")
        shape = GPTShape(
            layers or _SHAPE.layers,
            heads or _SHAPE.heads,
            width or _SHAPE.width,
            positions=positions or _SHAPE.positions,
        )
        if shape.width % (2 * shape.heads):
            raise typer.BadParameter(
                f"{shape.width} features do not make {shape.heads} heads of an even size", param_hint="--width, --heads"
            )
        course = TextCourse(
            shape,
            steps or TEXT_STEPS,
            batch_size or TEXT_BATCH_SIZE,
            TEXT_WARMUP if warmup is None else warmup,
            power,
        )
    else:
        defaults = DEFAULTS[DataName(data)]
        course = ImageCourse(
            defaults.widths if widths is None else numbers_of(widths, int, "--widths"),
            epochs or defaults.epochs,
            batch_size or defaults.batch_size,
            momentum or 0.0,
            warmup or 0,
            power,
        )
    study = Sweep(
        data=data,
        data_dir=data_dir,
        file=file,
        lrs=_lrs(lrs or [], chosen, data),
        weight_decays=(
            weight_decays_of(data)
            if weight_decays is None
            else numbers_of(weight_decays, float, "--weight-decays", zero=True)
        ),
        weights=tuple(map(WeightFormat, names_of(weights, [one.value for one in WeightFormat], "--weights"))),
        seeds=seeds,
        course=course,
        threads=threads,
        workers=workers,
        out=out or Path("runs") / f"sweep-{data}",
    )
    run_study(study, Console())


def _refuse(what: str, refused: bool, options: dict[str, Any]) -> None:
    for option, value in options.items():
        if refused and value is not None:
            raise typer.BadParameter(f"is for {what} only", param_hint=option)


def _lrs(given: list[str], methods: tuple[str, ...], data: TaskName) -> dict[str, tuple[float, ...]]:
    """By method: what was given for it, or else for all of them, or else its own."""
    found: dict[str, tuple[float, ...]] = {}
    for one in given:
        method, equals, numbers = one.rpartition("=")
        if equals and method not in methods:
            raise typer.BadParameter(f"{method!r} is not among the methods {', '.join(methods)}", param_hint="--lrs")
        if method in found:
            what = method or "all methods"
            raise typer.BadParameter(f"learning rates for {what} are given twice", param_hint="--lrs")
        found[method] = numbers_of(numbers, float, "--lrs")
    return {method: found.get(method) or found.get("") or lrs_of(data, method) for method in methods}

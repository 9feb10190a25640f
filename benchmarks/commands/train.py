"""The options of `python -m benchmarks train`."""

import shlex
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import race
from benchmarks.image_lesson import IMAGE_METHODS, ImageLesson, default_lr
from benchmarks.options import Out, Threads, conclude, names_of, start
from benchmarks.text_lesson import TEXT_METHODS, TextLesson
from modular_manifolds.cli.conduct import conduct
from modular_manifolds.experiments.data import DataName, load
from modular_manifolds.experiments.study_display import StudyDisplay
from modular_manifolds.experiments.task import TaskName
from modular_manifolds.experiments.text import load_text
from modular_manifolds.experiments.transfer_trial import Course

EPILOG = """
Examples:

    python -m benchmarks train --data cifar10 --data-dir ~/data --target 50

    python -m benchmarks train --data text --file tinyshakespeare.txt --target 2.4 --lr muon=0.03 --out text.json
"""

_METHODS = ",".join(IMAGE_METHODS)
_TARGETS = {TaskName.DIGITS: 90.0, TaskName.CIFAR10: 50.0, TaskName.TEXT: 2.4}


def train(
    data: Annotated[TaskName, typer.Option(help="What is learned.")] = TaskName.CIFAR10,
    data_dir: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of CIFAR-10's two parquet files, as for compare."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A text. Default: the source code of Python's own library."),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(help="Test accuracy in percent, or loss. Default: 50 on cifar10, 90 on digits, 2.4 on text."),
    ] = None,
    methods: Annotated[
        str, typer.Option(metavar="A,B", help="adamw, which is always among them, and others.", show_default="all")
    ] = _METHODS,
    lr: Annotated[
        list[str] | None, typer.Option(metavar="METHOD=X", help="In place of the method's own; may be repeated.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Of images.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Of text; rounded up to a multiple of 10.")] = 400,
    width: Annotated[int, typer.Option(min=1, help="Of the GPT.")] = 128,
    depth: Annotated[int, typer.Option(min=1, help="Of the GPT.")] = 4,
    batch_size: Annotated[int, typer.Option(min=1, help="Pieces of text in a step.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Of the initial weights and of the batches.")] = 0,
    threads: Threads = None,
    out: Out = None,
) -> None:
    """Seconds of training to a target, and of the whole run as a ratio to AdamW's, in turns.

    cifar10 and digits: the network of compare, an epoch at a time. text: a GPT, the same for every method, of which
    Muon steps all linear layers and manifold Muon those inside the blocks, both with AdamW for the rest.
    """
    console = Console()
    start(threads, "cpu")
    on_text = data is TaskName.TEXT
    known: Collection[str] = TEXT_METHODS if on_text else IMAGE_METHODS
    names = list(dict.fromkeys([race.REFERENCE, *names_of(methods, known)]))
    own = {name: TEXT_METHODS[name].lr if on_text else default_lr(name) for name in names}
    lrs = {**own, **_lrs_of(lr or [], names)}
    wanted = _TARGETS[data] if target is None else target
    lessons: dict[str, race.Lesson]
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    with conduct(console, command, "nothing is written. To begin again"):
        if on_text:
            goal = race.Goal("loss", wanted, higher=False, part="tenth")
            parts, text = TextLesson.parts, load_text(file)
            course = Course(width, depth, -(-steps // parts) * parts, batch_size)
            settings = {"data": str(data), "fingerprint": text.fingerprint, **vars(course)}
            lessons = {name: TextLesson(text, name, lrs[name], course, seed) for name in names}
        else:
            goal = race.Goal("accuracy", wanted, higher=True, part="epoch")
            with console.status(f"reading {data}"):
                images = load(DataName(data), data_dir)
            parts, settings = epochs, {"data": str(data), "fingerprint": images.fingerprint, "epochs": epochs}
            lessons = {name: ImageLesson(images, name, lrs[name], epochs, seed) for name in names}
        with StudyDisplay(console) as display:
            rows = race.run(lessons, parts, goal, display)
    console.print(race.table(rows, goal, f"Training on {data}"))
    conclude(race.report(rows, goal, {**settings, "seed": seed}), out, None, 0.0, console)


def _lrs_of(given: list[str], names: list[str]) -> dict[str, float]:
    lrs = {}
    for item in given:
        name, _, number = item.partition("=")
        try:
            lrs[name] = float(number)
        except ValueError:
            lrs[name] = 0.0
        if name not in names or not 0 < lrs[name] < float("inf"):
            raise typer.BadParameter(
                f"{item!r} is not of the form METHOD=NUMBER, METHOD being one of {', '.join(names)}", param_hint="--lr"
            )
    return lrs

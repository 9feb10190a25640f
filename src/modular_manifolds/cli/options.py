"""How the values of options are read, and their checks."""

import math
from collections.abc import Callable, Collection
from fractions import Fraction
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from modular_manifolds.experiments.data import DataName
from modular_manifolds.experiments.defaults import DEFAULTS
from modular_manifolds.experiments.methods import METHODS, SCALED, method_of

Number = TypeVar("Number", int, float)


def by_data(setting: str) -> str:
    """For a help text: the default of `setting` on every data set."""
    values = {name: getattr(defaults, setting) for name, defaults in DEFAULTS.items()}
    shown = {name: ",".join(map(str, value)) if isinstance(value, tuple) else value for name, value in values.items()}
    return "Default: " + ", ".join(f"{value} on {name}" for name, value in shown.items()) + "."


def scaled_methods_of(given: str) -> tuple[str, ...]:
    """Those of `compare`, also with scaled manifolds, as manifold-muon@2."""
    names = _split(given)
    _check_known(tuple(dict.fromkeys(name.partition(SCALED)[0] for name in names)), METHODS, "--methods")
    for name in names:
        try:
            method_of(name)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--methods") from error
    return names


def names_of(given: str, known: Collection[str], option: str) -> tuple[str, ...]:
    names = _split(given)
    _check_known(names, known, option)
    return names


def _split(given: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))


def _check_known(names: tuple[str, ...], known: Collection[str], option: str) -> None:
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise typer.BadParameter(
            f"{', '.join(unknown) or 'an empty list'} is unknown; there are {', '.join(known)}",
            param_hint=option,
        )


def numbers_of(given: str, kind: Callable[[str], Number], option: str, *, zero: bool = False) -> tuple[Number, ...]:
    try:
        numbers = tuple(dict.fromkeys(kind(number) for number in given.split(",")))
    except (ValueError, ArithmeticError):
        numbers = ()
    if not numbers or not all(0 < number < math.inf or (zero and number == 0) for number in numbers):
        kinds = "positive numbers or 0" if zero else "positive numbers"
        raise typer.BadParameter(f"{given!r} is no list of {kinds} with commas between", param_hint=option)
    return numbers


def sizes_of(given: str, option: str) -> tuple[int, ...]:
    return () if given == "none" else numbers_of(given, int, option)


def ratio(given: str) -> float:
    return float(Fraction(given))


def pair(given: str) -> tuple[str, float]:
    pattern, _, number = given.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not pattern or not 0 <= value < math.inf:
        raise typer.BadParameter(f"{given!r} is not of the form PATTERN=NUMBER", param_hint="--mass")
    return pattern, value


def check_data_dir(data: DataName, data_dir: Path | None) -> None:
    """Raise typer.BadParameter where a folder of CIFAR-10 is given for other data."""
    if data_dir is not None and data is not DataName.CIFAR10:
        raise typer.BadParameter(f"is for cifar10 only; {data} needs no files", param_hint="--data-dir")


# options that several commands have
Data = Annotated[DataName, typer.Option(help="Handwritten digits come with scikit-learn; CIFAR-10 is downloaded once.")]
DataDir = Annotated[
    Path | None,
    typer.Option(exists=True, file_okay=False, help="Folder of CIFAR-10's two parquet files, as for compare."),
]
Epochs = Annotated[int | None, typer.Option(min=1, help=by_data("epochs"))]
BatchSize = Annotated[int | None, typer.Option(min=1, help=by_data("batch_size"))]
Widths = Annotated[str | None, typer.Option(metavar="N,M", help=f"Sizes of the hidden layers. {by_data('widths')}")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads of torch. Default: 1 on digits, all on cifar10.")]
Seeds = Annotated[int, typer.Option(min=1, help="How many seeds, from 0.")]
Lrs = Annotated[
    str | None,
    typer.Option(metavar="X,Y", help="Learning rates for every method. Default: three of each method's own."),
]

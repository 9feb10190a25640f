"""How the values of options are read, and their checks."""

import math
from collections.abc import Callable, Collection
from fractions import Fraction
from typing import TypeVar

import typer

from modular_manifolds.experiments.defaults import DEFAULTS
from modular_manifolds.experiments.methods import METHODS

Number = TypeVar("Number", int, float)


def by_data(setting: str) -> str:
    """For a help text: the default of `setting` on every data set."""
    values = {name: getattr(defaults, setting) for name, defaults in DEFAULTS.items()}
    shown = {name: ",".join(map(str, value)) if isinstance(value, tuple) else value for name, value in values.items()}
    return "Default: " + ", ".join(f"{value} on {name}" for name, value in shown.items()) + "."


def methods_of(given: str) -> tuple[str, ...]:
    return names_of(given, METHODS, "--methods")


def names_of(given: str, known: Collection[str], option: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise typer.BadParameter(
            f"{', '.join(unknown) or 'an empty list'} is unknown; there are {', '.join(known)}",
            param_hint=option,
        )
    return names


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

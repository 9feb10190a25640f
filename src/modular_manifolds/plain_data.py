"""Frozen dataclasses as plain data, so that a checkpoint that mentions them loads with `weights_only=True`."""

import json
from dataclasses import fields, is_dataclass
from inspect import isabstract
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def describe(part: object) -> dict[str, Any]:
    """A frozen dataclass as its type's name and its fields; so are the parts that it is made of."""
    return {"type": type(part).__name__} | {f.name: _plain(getattr(part, f.name)) for f in fields(part)}  # type: ignore[arg-type]


def rebuild(base: type[T], data: dict[str, Any]) -> T:
    """What `describe` described, of a subclass of `base`, as are the parts that it is made of.

    Raises:
        ValueError: a type in the description is not defined in this process (import its module first).
    """
    known = [kind for kind in _subclasses(base) if not isabstract(kind)]
    found = [kind for kind in known if kind.__name__ == data["type"]]
    if len(found) != 1:
        names = ", ".join(sorted(kind.__name__ for kind in known))
        raise ValueError(f"{len(found)} types of {base.__name__} are called {data['type']!r}; known are {names}")
    return found[0](**{name: _rebuilt(base, value) for name, value in data.items() if name != "type"})


def write_json(path: str | PathLike[str], data: Any) -> None:
    """Write plain data whole or not at all. JSON has no infinity: numbers that are not finite become strings."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(json.dumps(_finite(data), indent=1, allow_nan=False) + "\n")
    temporary.replace(path)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return describe(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, float) else value  # a NumPy float is a float too, but no plain data


def _rebuilt(base: type[T], value: Any) -> Any:
    if isinstance(value, dict):
        return rebuild(base, value)
    return tuple(_rebuilt(base, item) for item in value) if isinstance(value, list | tuple) else value


def _subclasses(base: type[T]) -> list[type[T]]:
    return [kind for child in base.__subclasses__() for kind in (child, *_subclasses(child))]

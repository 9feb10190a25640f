"""Every public name is on a page of the API, once, and nothing else is."""

import re
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import modular_manifolds as mm
from modular_manifolds import baselines, distributed, linalg, nn, testing

PAGES = Path(__file__).parents[2] / "docs" / "api"


def public(module: ModuleType) -> set[str]:
    """Where to find everything that the module exports. Of a function and a module of one name, the function."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    return {
        f"{module.__name__}.{name}.{name}" if is_module(f"{module.__name__}.{name}") else f"{module.__name__}.{name}"
        for name in names
        if not isinstance(getattr(module, name), ModuleType)
    }


def is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def test_all_names_are_there_once() -> None:
    found = [name for page in PAGES.glob("*.md") for name in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)]
    expected = set().union(*(public(module) for module in (mm, baselines, distributed, linalg, nn, testing)))
    assert sorted(found) == sorted([*expected, testing.__name__, "modular_manifolds.baselines.PUBLISHED_LENGTH"])

"""What a user, or a module of `mm.nn`, says of parameters."""

from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from modular_manifolds.geometry import Geometry
from modular_manifolds.modular.reading import Rules, stands_for
from modular_manifolds.modular.rule import Rule
from modular_manifolds.nn import Leaf


def own_leaves(model: nn.Module) -> list[tuple[str, Leaf]]:
    """Parameters of `mm.nn` leaves, which know their own geometry and mass."""
    owned = [(path, module) for path, module in model.named_modules() if isinstance(module, Leaf)]
    return [(f"{path}.{name}".lstrip("."), m) for path, m in owned for name, _ in m.named_parameters(recurse=False)]


def own_geometries(model: nn.Module) -> dict[str, Geometry]:
    return {name: leaf.geometry for name, leaf in own_leaves(model)}


def given_geometries(model: nn.Module, rules: Rules) -> dict[str, Geometry]:
    """Geometries that the user gave, by parameter."""
    chosen: dict[str, Geometry] = {}
    for target, given in rules.items():
        if isinstance(given, Rule) and given.geometry is not None:
            for names in matches(model, target).values():
                fitting = [n for n in names if model.get_parameter(n).ndim >= 2 or n == target]
                chosen |= dict.fromkeys(fitting or names, given.geometry)
    return chosen


def matches(model: nn.Module, target: Any) -> dict[str, list[str]]:
    """Parameters by the outermost modules that a target stands for, or by themselves.

    Raises:
        ValueError: there is none.
    """
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    paths = [path for path, module in model.named_modules() if stands_for(target, path, module)]
    outer = [p for p in paths if not any(p.startswith(f"{q}.") for q in paths if q != p)]
    found = {path: [n for n in names if not path or n.startswith(f"{path}.")] for path in outer}
    found = {path: inside for path, inside in found.items() if inside}
    if not found and isinstance(target, str):
        found = {name: [name] for name in names if fnmatchcase(name, target)}
    if not found and isinstance(target, str | type):
        what = target if isinstance(target, str) else target.__name__
        raise ValueError(
            f"{what} in `rules` matches no module with parameters and no parameter; there are {names[:6]} ..."
        )
    return found


def given_masses(model: nn.Module, masses: dict[str, float], rules: Rules) -> dict[str, float]:
    """Masses after the user's: of a module, shared among its parameters as they were."""
    for target, given in rules.items():
        if isinstance(given, Rule) and given.mass is not None:
            for names in matches(model, target).values():
                inside = [n for n in names if n in masses]
                total = sum(masses[n] for n in inside)
                if not total and given.mass:
                    raise ValueError(f"{target} in `rules` cannot be given mass {given.mass}: what is inside has none")
                masses |= {n: masses[n] * given.mass / total if total else 0.0 for n in inside}
    return masses

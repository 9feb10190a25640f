"""Reading a model: its graph, and the rules that hold in it."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import inf
from typing import Any

from torch import nn

from modular_manifolds.modular.fuse import Region, collapse, fuse, regions
from modular_manifolds.modular.graph import Graph, Node, capture
from modular_manifolds.modular.rule import RULES, Rule, RuleFunction, op_name
from modular_manifolds.modular.space import Space
from modular_manifolds.modular.sweep import Unknown, wishes

Rules = Mapping[Any, Rule | RuleFunction]


MODULES: dict[type[nn.Module], RuleFunction | Rule] = {}


def register_rule(target: Any) -> Callable[[RuleFunction], RuleFunction]:
    """Decorator that gives an operator or a module type a rule of its own, in every plan and certificate from now on.

    The function takes a `Call`, which knows the node's inputs, their norms and their bounds, and returns an `Effect`.

    Args:
        target: a type of module, or an operator, e.g. torch.ops.mylib.foo.
    """

    def enter(function: RuleFunction) -> RuleFunction:
        if isinstance(target, type):
            MODULES[target] = function
        else:
            RULES[op_name(target)] = function
        return function

    return enter


@dataclass(frozen=True)
class Reading:
    """A model as a graph, and the rules that hold for its operations."""

    graph: Graph
    wanted: Mapping[Node, Space]
    rules: Mapping[str, Rule | RuleFunction]
    declared: list[Region]
    """Modules whose sensitivity is declared, and what is inside of which is understood all the same."""


def read(model: nn.Module, example_inputs: tuple[Any, ...], rules: Rules) -> Reading:
    """Capture the model, with modules that have a rule, and are not understood without it, as one node each."""
    modules = dict(model.named_modules())

    def chosen(path: str, kind: str) -> Rule | RuleFunction | None:
        module = modules.get(path)
        found: Rule | RuleFunction | None = None
        for target, given in {**MODULES, **rules}.items():
            decides = not isinstance(given, Rule) or given.sensitivity is not None
            if decides and module is not None and stands_for(target, path, module):
                found = given
        return found

    operators = {op_name(target): given for target, given in rules.items() if not isinstance(target, type | str)}

    def understood(region: Region) -> bool:
        moving = [n for n in region.members if graph.kind[n] == "active"]
        return isinstance(region.rule, Rule) and all(n.op in RULES or n.op in operators for n in moving)

    graph = fuse(capture(model, example_inputs))
    _check_rules(rules, modules, {node.op for node in graph.nodes})
    graph = collapse(graph, [region for region in regions(graph, chosen) if not understood(region)])
    declared = [region for region in regions(graph, chosen) if "rule" not in region.end.extra]
    return Reading(graph, wishes(graph), operators, declared)


def stands_for(target: Any, path: str, module: nn.Module) -> bool:
    """Whether a key of `rules` is this module's type, or a pattern that its path fits."""
    if isinstance(target, type):
        return isinstance(module, target)
    return isinstance(target, str) and bool(path) and fnmatchcase(path, target)


def declarations(declared: list[Region]) -> list[str]:
    """What a user says without proof of modules that are understood."""
    kinds = Counter(
        f"{region.kind.rpartition('.')[2]}: declared to stretch by at most {region.rule.sensitivity:g}"
        for region in declared
        if not region.rule.proved
    )
    return [f"{text}, {count} times" if count > 1 else text for text, count in kinds.items()]


def _check_rules(rules: Rules, modules: Mapping[str, nn.Module], operators: set[str]) -> None:
    """Raise ValueError or TypeError for an entry that says nothing, cannot be said of its key, or matches nothing.

    Geometries and masses are of parameters, and looked for where they are used.
    """
    for target, given in rules.items():
        module = isinstance(target, type | str)
        name = target.__name__ if isinstance(target, type) else str(target)
        if not isinstance(given, Rule):
            if not callable(given):
                raise TypeError(f"{name} in `rules` must be given a Rule or a function, got {type(given).__name__}")
        elif given == Rule():
            raise ValueError(f"the Rule of {name} in `rules` says nothing")
        elif not module and (given.sensitivity is None or given.geometry is not None or given.mass is not None):
            raise ValueError(f"{name} in `rules` is an operation: it has a sensitivity, and no geometry or mass")
        elif given.sensitivity is None:
            continue
        if module and not any(stands_for(target, *item) for item in modules.items()):
            raise ValueError(f"{name} in `rules` matches no module; there are {[*filter(None, modules)][:6]} ...")
        if not module and op_name(target) not in operators:
            raise ValueError(f"{name} in `rules` matches no operation; there are {sorted(operators)[:12]} ...")


def check_domain(domain: float) -> None:
    """Raise ValueError unless it is a bound."""
    if not 0 <= domain < inf:
        raise ValueError(f"domain must be a finite bound on the inputs' root mean square, got {domain}")


def check_floor(floor: float | None) -> None:
    """Raise ValueError unless it is a length, or None."""
    if floor is not None and not 0 < floor < inf:
        raise ValueError(f"floor must be positive and finite, or None, got {floor}")


def check_unknown(unknown: Unknown) -> None:
    """Raise ValueError unless it is "raise" or a sensitivity."""
    if unknown != "raise" and not (isinstance(unknown, int | float) and 0 <= unknown < inf):
        raise ValueError(f"unknown must be 'raise' or a finite sensitivity, got {unknown!r}")

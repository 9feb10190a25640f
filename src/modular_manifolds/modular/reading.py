"""Reading a model: its graph, and the rules that hold in it."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from modular_manifolds.modular.fuse import Region, collapse, fuse, regions
from modular_manifolds.modular.graph import Graph, Node, capture
from modular_manifolds.modular.rule import RULES, Rule, RuleFunction, op_name
from modular_manifolds.modular.space import Space
from modular_manifolds.modular.sweep import wishes

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

    for target, given in rules.items():
        if isinstance(given, Rule) and given.sensitivity is None:
            continue  # geometries and masses are of parameters, and looked for there
        if isinstance(target, type | str) and not any(stands_for(target, *item) for item in modules.items()):
            name = target if isinstance(target, str) else target.__name__
            raise ValueError(f"{name} in `rules` matches no module; there are {[*filter(None, modules)][:6]} ...")
    operators = {op_name(target): given for target, given in rules.items() if not isinstance(target, type | str)}

    def understood(region: Region) -> bool:
        moving = [n for n in region.members if graph.kind[n] == "active"]
        return isinstance(region.rule, Rule) and all(n.op in RULES or n.op in operators for n in moving)

    graph = fuse(capture(model, example_inputs))
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


def check_domain(domain: float | None, floor: float | None) -> None:
    if domain is not None and not domain >= 0:
        raise ValueError(f"domain must be a bound on the inputs' root mean square, got {domain}")
    if floor is not None and not 0 < floor < float("inf"):
        raise ValueError(f"floor must be positive and finite, or None, got {floor}")

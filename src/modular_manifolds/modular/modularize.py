"""From a model to its plan."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from itertools import permutations
from math import fsum, isfinite, sqrt
from typing import Any

import torch
from torch import nn

from modular_manifolds.geometry import Geometry
from modular_manifolds.manifolds import Euclidean, Manifold, Oblique, Product, Stiefel
from modular_manifolds.modular.fuse import Region, collapse, fuse, regions
from modular_manifolds.modular.graph import Graph, Node, capture
from modular_manifolds.modular.ops.shapes import ORDERS, PARTS, RESHAPES, SAME
from modular_manifolds.modular.plan import Entry, Plan
from modular_manifolds.modular.rule import RULES, Rule, RuleFunction, Use, UseKind, Weights, op_name
from modular_manifolds.modular.space import Space, conversion
from modular_manifolds.modular.sweep import Setting, Sweep, Unknown, natural, sweep, wishes
from modular_manifolds.modular.weights import Planned, largest_change
from modular_manifolds.nn import Leaf
from modular_manifolds.norms import (
    ConvOperator,
    MaxEntry,
    MaxRow,
    Norm,
    PerBlock,
    PerHead,
    RMSOperator,
    TransposedRMSOperator,
)

Rules = Mapping[Any, Rule | RuleFunction]

VECTOR_MASS = 0.1
"""Mass of a bias or a gain beside 1 of a matrix: they are few numbers, and free."""

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
            if decides and (
                (isinstance(target, type) and isinstance(module, target))
                or (isinstance(target, str) and path and fnmatchcase(path, target))
            ):
                found = given
        return found

    operators = {op_name(target): given for target, given in rules.items() if not isinstance(target, type | str)}

    def understood(region: Region) -> bool:
        moving = [n for n in region.members if graph.kind[n] == "active"]
        return isinstance(region.rule, Rule) and all(n.op in RULES or n.op in operators for n in moving)

    graph = fuse(capture(model, example_inputs))
    graph = collapse(graph, [region for region in regions(graph, chosen) if not understood(region)])
    declared = [region for region in regions(graph, chosen) if "rule" not in region.end.extra]
    return Reading(graph, wishes(graph), operators, declared)


def modularize(
    model: nn.Module,
    example_inputs: tuple[Any, ...],
    rules: Rules | None = None,
    *,
    domain: float = 1.0,
    floor: float | None = 1.0,
    unknown: Unknown = "raise",
) -> Plan:
    """Plan every parameter's geometry and its share of one global learning rate.

    The model is captured by torch.export, in evaluation mode, and not changed. One sweep forwards bounds activations,
    one backwards finds how sensitive the output is to each (Large et al., arXiv 2405.14813, by its closed form:
    budget = mass / total mass / sensitivity of everything after). Activations are measured by the largest root mean
    square over tokens, pixels and attention heads.

    Args:
        model: any module.
        example_inputs: a tuple of positional inputs. Only shapes and dtypes matter.
        rules: what to do otherwise, by module path or parameter name (a pattern, e.g. "blocks.*.attn"), by type of
            module, or by operator: each a `Rule`, or a function as for `register_rule`. Later ones win.
        domain: bound on the root mean square of every token or sample of floating-point inputs.
        floor: a declared lower bound on the root mean square of what enters LayerNorm, RMSNorm and GroupNorm, whose
            slope is its inverse; such sensitivities are estimates. None: the slope is 1/sqrt(eps), proved, and often
            useless.
        unknown: "raise" for operations without a rule, or the sensitivity to take, as an estimate, for each.

    Raises:
        CaptureError: torch.export could not capture the model.
        UnknownOperationError: an operation has no rule, and `unknown` is "raise".
        ValueError: a trainable parameter does not reach the output, a sensitivity is infinite, or a pattern in `rules`
            matches nothing.
        TypeError: example_inputs is no tuple.
    """
    rules = dict(rules or {})
    check_domain(domain, floor)
    reading = read(model, example_inputs, rules)
    graph = reading.graph
    spaces = {node: natural(node, reading.wanted.get(node)) for node in graph.inputs}

    def run(weights: Weights) -> Sweep:
        bounds = dict.fromkeys(graph.inputs, domain)
        given, declared = reading.rules, reading.declared
        setting = Setting(weights, bounds, spaces, reading.wanted, given, declared, unknown, floor, unit=True)
        return sweep(graph, setting)

    overrides = {**_own_geometries(model), **_overrides(model, rules)}
    first = run(_Unit())
    chosen = {p.name: overrides.get(p.name) or _choose(p, _uses_of(p, graph, first), first) for p in graph.parameters}
    chosen |= {name: g for name, g in _tables_like_others(graph, chosen).items() if name not in overrides}
    final = run(Planned(chosen))
    leaves = {p.name: _leaf(p, graph, final, chosen[p.name], p.name in overrides) for p in graph.parameters}
    own = {name: leaf.mass for name, leaf in _algebra(model)}
    masses = _masses(model, {name: own.get(name, leaf.mass) for name, leaf in leaves.items()}, rules)
    return _plan(model, reading, final, leaves, masses, domain)


def check_domain(domain: float | None, floor: float | None) -> None:
    if domain is not None and not domain >= 0:
        raise ValueError(f"domain must be a bound on the inputs' root mean square, got {domain}")
    if floor is not None and not 0 < floor < float("inf"):
        raise ValueError(f"floor must be positive and finite, or None, got {floor}")


class _Unit:
    """Weights of gain 1, to see what each is used for."""

    measured = False

    def gain(self, parameter: Node, use: Use) -> tuple[float, bool]:
        return 1.0, True

    def row(self, parameter: Node) -> tuple[float, bool]:
        return 1.0, True

    def size(self, parameter: Node, blocks: int) -> tuple[float, bool]:
        return 0.0, True

    def entry(self, parameter: Node) -> tuple[float, bool]:
        return 1.0, True


@dataclass(frozen=True)
class _At:
    """A use of a parameter: where, and the sensitivity of the output there, block by block."""

    node: Node
    use: Use
    blocks: tuple[float, ...]
    pieces: int
    proved: bool


def _uses_of(parameter: Node, graph: Graph, swept: Sweep) -> list[_At]:
    found = []
    for node in graph.nodes:
        state = swept.states.get(node)
        for other, use in state.effect.uses if state else ():
            if other is parameter:
                parts = pieces(graph, node) if use.kind == "matrix" and use.blocks > 1 else []
                each: tuple[float, ...] = (swept.sensitivity[node],) * use.blocks
                if parts and use.blocks % len(parts) == 0:
                    run = use.blocks // len(parts)
                    each = tuple(swept.sensitivity[part] for part in parts for _ in range(run))
                count = len(parts) if parts and use.blocks % len(parts) == 0 else 1
                found.append(_At(node, use, each, count, swept.proved[node]))
    if swept.sensitivity[parameter]:  # it is data, too
        kind: UseKind = "embedding" if len(parameter.shape) > 1 and parameter.shape[-1] > 1 else "vector"
        found.append(_At(parameter, Use(kind), (swept.sensitivity[parameter],), 1, swept.proved[parameter]))
    return found


def pieces(graph: Graph, node: Node) -> list[Node]:
    """The parts that a fused output is cut into, in order: [q, k, v] of a fused projection; empty if it is not cut."""
    moved = {f"aten.{op}" for op in (*RESHAPES, *ORDERS, *SAME)}
    kept = {f"aten.{op}" for op in PARTS}
    value = torch.arange(node.shape[-1], dtype=torch.int32).expand(node.shape)
    while True:
        users = graph.users[node]
        if len(users) == 1 and users[0].op in moved:
            (node,) = users
            arguments = [value if isinstance(a, Node) else a for a in node.args]
            value = value if node.op.removeprefix("aten.") in SAME else node.target(*arguments, **node.kwargs)
            continue
        break
    if len(users) < 2 or any(user.op not in kept for user in users):
        return []
    ranges = {}
    for user in users:
        part = user.target(value, *user.args[1:], **user.kwargs)
        low, high = int(part.min()), int(part.max()) + 1
        if part.unique().numel() != high - low:
            return []
        ranges[low] = (user, high)
    end = 0
    ordered = []
    while end in ranges:
        user, end = ranges[end]
        ordered.append(user)
    equal = len({high - low for low, (_, high) in ranges.items()}) == 1
    return ordered if equal and len(ordered) == len(users) and end == int(value.max()) + 1 else []


def _choose(parameter: Node, uses: list[_At], swept: Sweep) -> Geometry:
    """The default geometry: of several uses, that whose norm the uses together are least sensitive to."""
    candidates = dict.fromkeys(default_geometry(at.use, parameter.shape) for at in uses)
    if not candidates:
        return default_geometry(Use("declared"), parameter.shape)
    return min(
        candidates, key=lambda g: sum(max(at.blocks) * largest_change(g.norm, parameter.shape, at.use) for at in uses)
    )


def default_geometry(use: Use, shape: tuple[int, ...]) -> Geometry:
    """The table of the modular norm: what suits a parameter that is used so."""
    if use.kind == "gain":
        return Geometry(Euclidean(), MaxEntry())
    if _is_vector(use, shape):
        return Geometry(Euclidean(), MaxRow())
    if use.kind == "embedding":
        return Geometry(Oblique("rows", sqrt(shape[-1])), MaxRow())
    if use.kind == "convolution":
        return convolution_geometry(shape[0], shape[1], use.kernel, use.groups)
    m, n = shape[-2:]
    out, into = (n, m) if use.transposed else (m, n)
    norm: Norm = TransposedRMSOperator() if use.transposed else RMSOperator()
    size = out // use.blocks
    manifold: Manifold = Stiefel(sqrt(size / into)) if max(size, into) > 1 else Euclidean()
    if use.blocks == 1:
        return Geometry(manifold, norm)
    axis: Any = "columns" if use.transposed else "rows"
    return Geometry(Product(manifold, use.blocks, axis), PerHead(norm, use.blocks, axis))


def _tables_like_others(graph: Graph, chosen: Mapping[str, Geometry]) -> dict[str, Geometry]:
    """Geometries of tables that are added to a table with another geometry: rows as long as the other's are on average.

    Positions added to tokens whose table is tied to the output, and therefore on another manifold, would drown them.
    """
    matched = {}
    for node in graph.nodes:
        if node.op != "aten.add":
            continue
        tables = [table for table in map(partial(_table, graph), node.inputs) if table is not None]
        for mine, other in permutations(tables, 2):
            ours, theirs = chosen[mine.name], chosen[other.name].manifold
            if isinstance(ours.manifold, Oblique) and isinstance(theirs, Stiefel):
                m, n = other.shape[-2:]
                matched[mine.name] = replace(ours, manifold=Oblique("rows", theirs.radius * sqrt(min(m, n) / m)))
    return matched


def _table(graph: Graph, node: Node) -> Node | None:
    """The parameter whose rows a node is made of, if it is that of an embedding."""
    moved = {f"aten.{op}" for op in (*RESHAPES, *PARTS, *SAME, "expand", "dropout")}
    while node.op in moved:
        node = node.args[0]
    if node.op == "aten.embedding" and graph.kind[node.args[0]] == "weight":
        return graph.weight(node.args[0])[0]
    return node if node.op == "parameter" and len(node.shape) > 1 else None


def _is_vector(use: Use, shape: tuple[int, ...]) -> bool:
    """Whether a parameter is a bias, or a gain: one number for each feature, in whatever shape."""
    return len(shape) < 2 or use.kind in ("vector", "gain") or (use.kind == "embedding" and shape[-1] == 1)


def convolution_geometry(out: int, into: int, kernel: tuple[int, ...], groups: int = 1) -> Geometry:
    """Every tap on a Stiefel manifold on which the convolution has gain 1; `into` counts the channels of one group."""
    taps = int(torch.tensor(kernel).prod()) if kernel else 1
    size = out // groups
    norm: Norm = ConvOperator(taps)
    manifold: Manifold = Stiefel(sqrt(size / into) / taps) if max(size, into) > 1 else Euclidean()
    if groups > 1:
        manifold, norm = Product(manifold, groups), PerHead(norm, groups)
    return Geometry(manifold, norm, kernel_axes=len(kernel))


@dataclass(frozen=True)
class _Leaf:
    geometry: Geometry
    mass: float
    sensitivity: float
    input_bound: float
    proved: bool
    uses: tuple[str, ...]


def _leaf(parameter: Node, graph: Graph, swept: Sweep, geometry: Geometry, given: bool) -> _Leaf:
    uses = _uses_of(parameter, graph, swept)
    mass = float(max((at.pieces for at in uses), default=1))
    if all(_is_vector(at.use, parameter.shape) for at in uses):
        mass = VECTOR_MASS
    sensitivity, bound = 0.0, 0.0
    if len(uses) == 1 and len(uses[0].blocks) > 1 and not given:
        geometry, sensitivity = _fused(geometry, uses[0], parameter.shape)
    else:
        for at in uses:
            sensitivity += max(at.blocks, default=0.0) * largest_change(geometry.norm, parameter.shape, at.use)
            if at.pieces > 1:
                sensitivity += (sum(at.blocks) / len(at.blocks) * at.pieces - max(at.blocks)) * largest_change(
                    geometry.norm, parameter.shape, at.use
                )
    for at in uses:
        bound = max(bound, _input_bound(at, swept))
    return _Leaf(
        geometry,
        mass,
        sensitivity,
        bound,
        all(at.proved and at.use.kind != "declared" for at in uses),
        tuple(f"{at.use.kind} in {at.node.place}" for at in uses),
    )


def _fused(geometry: Geometry, at: _At, shape: tuple[int, ...]) -> tuple[Geometry, float]:
    """Blocks that the output feels differently get steps in inverse proportion, all of one budget."""
    run = len(at.blocks) // at.pieces
    each = at.blocks[::run] if at.pieces > 1 else (max(at.blocks),)
    total = sum(each) * largest_change(geometry.norm, shape, at.use)
    mean = sum(each) / len(each)
    if at.pieces == 1 or max(each) - min(each) <= 1e-9 * mean or min(each) <= 0 or not isfinite(mean):
        return geometry, total
    norm = geometry.norm
    if not isinstance(norm, PerHead):
        return geometry, total
    weights = tuple(s / mean for s in at.blocks)
    return replace(geometry, norm=PerBlock(norm.norms, norm.heads, norm.axis, weights)), total


def _input_bound(at: _At, swept: Sweep) -> float:
    """How long the inputs are that the parameter acts on."""
    if at.use.kind in ("embedding", "vector"):
        return 1.0
    if at.use.input_bound is not None:
        return at.use.input_bound
    slopes = [s for s in swept.states[at.node].effect.slopes if s.x in swept.states]
    if not slopes:
        return 1.0
    state = swept.states[slopes[0].x]
    return state.effect.bound * conversion(state.effect.space, slopes[0].space)


def _algebra(model: nn.Module) -> list[tuple[str, Leaf]]:
    """Parameters of `mm.nn` leaves, which know their own geometry and mass."""
    owned = [(path, module) for path, module in model.named_modules() if isinstance(module, Leaf)]
    return [(f"{path}.{name}".lstrip("."), m) for path, m in owned for name, _ in m.named_parameters(recurse=False)]


def _own_geometries(model: nn.Module) -> dict[str, Geometry]:
    return {name: leaf.geometry for name, leaf in _algebra(model)}


def _overrides(model: nn.Module, rules: Rules) -> dict[str, Geometry]:
    """Geometries that the user gave, by parameter."""
    chosen: dict[str, Geometry] = {}
    for target, given in rules.items():
        if isinstance(given, Rule) and given.geometry is not None:
            for names in _matches(model, target).values():
                fitting = [n for n in names if model.get_parameter(n).ndim >= 2 or n == target]
                chosen |= dict.fromkeys(fitting or names, given.geometry)
    return chosen


def _matches(model: nn.Module, target: Any) -> dict[str, list[str]]:
    """Parameters by the outermost modules that a target stands for, or by themselves.

    Raises:
        ValueError: there is none.
    """
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    paths = [
        path
        for path, module in model.named_modules()
        if (isinstance(target, type) and isinstance(module, target))
        or (isinstance(target, str) and path and fnmatchcase(path, target))
    ]
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


def _masses(model: nn.Module, masses: dict[str, float], rules: Rules) -> dict[str, float]:
    """Masses after the user's: of a module, shared among its parameters as they were."""
    for target, given in rules.items():
        if isinstance(given, Rule) and given.mass is not None:
            for names in _matches(model, target).values():
                inside = [n for n in names if n in masses]
                total = sum(masses[n] for n in inside)
                if not total and given.mass:
                    raise ValueError(f"{target} in `rules` cannot be given mass {given.mass}: what is inside has none")
                masses |= {n: masses[n] * given.mass / total if total else 0.0 for n in inside}
    return masses


def _plan(
    model: nn.Module, reading: Reading, swept: Sweep, leaves: dict[str, _Leaf], masses: dict[str, float], domain: float
) -> Plan:
    graph, declared = reading.graph, reading.declared
    total = fsum(masses.values())
    params = {name: p for name, p in model.named_parameters() if p.requires_grad}
    notes = (*_notes(graph, swept), *declarations(declared))
    entries = {}
    for name, p in params.items():
        leaf = leaves.get(name)
        mass = masses.get(name, 0.0)
        if leaf is None or (not leaf.uses and mass):
            raise ValueError(
                f"{name} of shape {tuple(p.shape)} does not reach the output for these example inputs; leave it out "
                f"with rules={{{name!r}: mm.Rule(mass=0)}}, or freeze it with requires_grad_(False)"
            )
        if mass and not isfinite(leaf.sensitivity):
            raise ValueError(
                f"the output's sensitivity to {name} is not bounded: {_culprit(graph, swept)}. Its budget would be 0"
            )
        budget = mass / total / leaf.sensitivity if mass and leaf.sensitivity else 0.0
        if mass and not leaf.sensitivity:
            raise ValueError(
                f"{name} does not move the output: its budget would be infinite; give it mass 0 in `rules`"
            )
        entries[name] = Entry(
            name,
            tuple(p.shape),
            leaf.geometry,
            mass,
            leaf.sensitivity,
            budget,
            leaf.input_bound,
            leaf.proved,
            leaf.uses,
            () if leaf.proved else notes,
        )
    whole = sum(swept.sensitivity[node] for node in graph.inputs)
    proved = all(swept.proved[node] for node in graph.inputs)
    return Plan(entries, domain, whole, proved, notes, params)


def _notes(graph: Graph, swept: Sweep) -> tuple[str, ...]:
    """Everything that is not proved, once for each kind of place."""
    seen: dict[str, int] = {}
    for node in graph.nodes:
        state = swept.states.get(node)
        if state is None or state.effect.proved:
            continue
        effect = state.effect
        kind = node.modules[-1][1].rpartition(".")[2] if node.modules else "the model"
        # an attention's numbers differ from layer to layer
        reason = effect.reason.partition(":")[0] if effect.reason.startswith("attention") else effect.reason
        text = f"{node.op} in {kind}: {reason}" + (f" ({effect.cure})" if effect.cure else "")
        seen[text] = seen.get(text, 0) + 1
    return tuple(f"{text}, {count} times" if count > 1 else text for text, count in seen.items())


def declarations(declared: list[Region]) -> list[str]:
    """What a user says without proof of modules that are understood."""
    kinds = Counter(
        f"{region.kind.rpartition('.')[2]}: declared to stretch by at most {region.rule.sensitivity:g}"
        for region in declared
        if not region.rule.proved
    )
    return [f"{text}, {count} times" if count > 1 else text for text, count in kinds.items()]


def _culprit(graph: Graph, swept: Sweep) -> str:
    for node in reversed(graph.nodes):
        state = swept.states.get(node)
        if state and any(not isfinite(slope.factor) for slope in state.effect.slopes):
            return f"{node.place}: {state.effect.reason}; {state.effect.cure}"
    return "the product of the sensitivities overflows"

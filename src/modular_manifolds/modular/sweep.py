"""The two sweeps over a graph: how long activations are, forwards; how much the output feels them, backwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Literal

from torch import Tensor

import modular_manifolds.modular.ops  # noqa: F401, which enters the rules
from modular_manifolds.modular.families import COPIES, RESHAPES
from modular_manifolds.modular.fuse import Region
from modular_manifolds.modular.graph import Graph, Node
from modular_manifolds.modular.rule import (
    RULES,
    WANTS,
    Call,
    Effect,
    Rule,
    RuleFunction,
    Slope,
    State,
    UnknownOperationError,
    Use,
    Weights,
    times,
)
from modular_manifolds.modular.space import Space, conversion, finer

Unknown = Literal["raise"] | float
"""What to do about an operation without a rule: raise an error, or take this as its sensitivity, an estimate."""


def wishes(graph: Graph) -> dict[Node, Space]:
    """In which norm each activation would best be measured, by what uses it; none for those that anything suits."""
    wanted: dict[Node, Space] = {}
    for node in reversed(graph.nodes):
        if graph.kind[node] != "active":
            continue
        asks = WANTS.get(node.op)
        for x, space in (asks(graph, node, wanted.get(node)) if asks else {}).items():
            if graph.kind[x] == "active":
                best = finer(wanted.get(x), space)
                assert best is not None
                wanted[x] = best
    return wanted


def natural(node: Node, wanted: Space | None) -> Space:
    """The norm of an input: by what reads it; otherwise every sample or token by its root mean square."""
    if wanted is not None:
        return wanted
    space = Space.of(node.shape, "max")
    return space.with_role(-1, "rms") if len(node.shape) > 1 and node.dtype.is_floating_point else space


def whole(node: Node) -> Space:
    """Every sample, along the first dimension, by its root mean square."""
    return Space.samples(node.shape)


@dataclass(frozen=True)
class Setting:
    """What both sweeps go by.

    Args:
        weights: how large they are.
        bounds: of every input, in its own norm.
        spaces: norms of the inputs.
        wanted: see `wishes`; empty to measure everything by the whole sample.
        rules: of operations, before the library's own.
        declared: modules whose sensitivity to their inputs is what a user says; inside, the rules hold.
        unknown: see there.
        floor: declared lower bound on what enters a normalisation; None for none.
        other: results of another sweep, in other norms, whose bounds hold as well.
        unit: see `Call`.
    """

    weights: Weights
    bounds: Mapping[Node, float]
    spaces: Mapping[Node, Space]
    wanted: Mapping[Node, Space]
    rules: Mapping[str, Rule | RuleFunction]
    declared: Sequence[Region] = ()
    unknown: Unknown = "raise"
    floor: float | None = None
    other: Mapping[Node, State] | None = None
    unit: bool = False


@dataclass
class Sweep:
    """Its results: an effect for every activation, and the output's sensitivity to every activation and use."""

    states: dict[Node, State]
    sensitivity: dict[Node, float]
    proved: dict[Node, bool]
    """Whether the sensitivity is."""


def sweep(graph: Graph, setting: Setting) -> Sweep:
    """Forwards, then backwards.

    Raises:
        UnknownOperationError: an operation has no rule, and `unknown` says to raise.
    """
    states: dict[Node, State] = {}
    for node in graph.nodes:
        if node.op == "input":
            states[node] = State(Effect(setting.spaces[node], setting.bounds[node], reason="input"), True)
        elif node.op == "parameter":
            states[node] = _parameter(node, setting.weights)
        elif graph.kind[node] == "active" or (graph.kind[node] == "weight" and node.op in RULES):
            states[node] = _state(graph, node, setting, states)
        elif graph.kind[node] == "discrete":
            states[node] = State(_whole_numbers(node, states), True)
        elif node.dtype.is_floating_point and any(graph.kind[user] == "active" for user in graph.users[node]):
            states[node] = _constant(graph, node)
    return Sweep(states, *_backwards(graph, states, setting.declared))


def _state(graph: Graph, node: Node, setting: Setting, states: dict[Node, State]) -> State:
    wanted = setting.wanted.get(node)
    call = Call(graph, node, setting.weights, states, setting.other, wanted, setting.floor, setting.unit)
    given = node.extra.get("rule") or setting.rules.get(node.op)
    bounds = {region.end: region.rule for region in setting.declared if region.rule.bound is not None}
    if isinstance(given, Rule):
        effect = declared(call, given)
    elif given is not None:
        effect = given(call)
    elif node.op in RULES:
        effect = RULES[node.op](call)
    elif setting.unknown == "raise":
        raise UnknownOperationError(
            f"there is no rule for {node.place}, with inputs {[x.shape for x in node.inputs]}. Register one with "
            f"mm.register_rule, give that module a mm.Rule(sensitivity=...) in `rules`, or pass unknown=1.0 to take "
            "that as an estimate of every such operation's sensitivity"
        )
    else:
        effect = declared(call, Rule(sensitivity=setting.unknown))
        effect = replace(effect, reason=f"no rule: sensitivity taken to be {setting.unknown:g}")
    if unfelt := _unfelt(graph, node, effect, states):
        effect = replace(
            effect,
            slopes=(*effect.slopes, *(Slope(x, inf, states[x].effect.space) for x in unfelt)),
            reason=f"{effect.reason}; nothing is known of what {', '.join(x.name for x in unfelt)} does in it",
            cure=effect.cure or f"give {node.path or 'this operation'} a rule",
        )
    if node in bounds:
        size = times(bounds[node].bound, conversion(natural(node, None), effect.space))
        effect = replace(effect, bound=size, capped=True, bound_proved=bounds[node].proved)
    doubts = call.doubts
    proved = effect.proved and not (doubts["weights"] or doubts["slopes"])
    sure = effect.bound_proved and not doubts["weights"] and (effect.capped or not doubts["bound"])
    return State(replace(effect, proved=proved), sure)


_SHAPED_BY_THE_SECOND = {"aten.view_as", "aten.reshape_as", "aten.expand_as", "aten.type_as"}


def _unfelt(graph: Graph, node: Node, effect: Effect, states: Mapping[Node, State]) -> list[Node]:
    """Inputs that move and of which a rule says nothing: what it does not know of has no bound."""
    if node.op in _SHAPED_BY_THE_SECOND:
        return []
    known = {slope.x for slope in effect.slopes} | {parameter for parameter, _ in effect.uses}
    found = []
    for x in dict.fromkeys(node.inputs):
        moves = x in states and graph.kind[x] in ("active", "weight")
        if moves and x not in known and (graph.kind[x] == "active" or graph.weight(x)[0] not in known):
            found.append(x)
    return found


def _constant(graph: Graph, node: Node) -> State:
    value = graph.value(node)
    if not isinstance(value, Tensor):
        return State(Effect(Space(()), inf), True)
    rows = value.double().square().mean(-1) if value.ndim > 1 else value.double().square()
    size = float(rows.max().sqrt()) if value.numel() else 0.0
    return State(Effect(natural(node, None), size, reason="a constant"), True)


def _parameter(node: Node, weights: Weights) -> State:
    """A parameter where it is data, as learned tokens and positions are: each row by its root mean square."""
    if not node.shape:
        size, proved = weights.entry(node)
        return State(Effect(Space(()), size), proved)
    size, proved = weights.row(node) if len(node.shape) > 1 else weights.size(node, 1)
    return State(Effect(Space.of(node.shape, "max").with_role(-1, "rms"), size, reason="a parameter"), proved)


def _whole_numbers(node: Node, states: dict[Node, State]) -> Effect:
    """Tokens in another shape are the same tokens; anything else made of them may change by any amount."""
    space = Space.of(node.shape, "max")
    moving = [x for x in node.inputs if x in states]
    kept = node.op in RESHAPES | COPIES
    same = kept and not any(x.dtype.is_floating_point for x in (node, *moving))
    slopes = tuple(Slope(x, 1.0 if same else inf, states[x].effect.space) for x in moving)
    if same and moving:
        space = states[moving[0]].effect.space.reshaped(node.shape) or space
    return Effect(space, inf, slopes, reason="the same tokens" if same else "whole numbers, computed from the inputs")


def declared(call: Call, rule: Rule) -> Effect:
    """The effect of what a user says."""
    node = call.node
    assert rule.sensitivity is not None
    moving = [x for x in node.extra.get("active", node.inputs) if call.active(x)]
    slopes = tuple(Slope(x, rule.sensitivity, natural(x, None)) for x in moving)
    size = sum(times(slope.factor, call.length(slope.x, slope.space)) for slope in slopes)
    uses = tuple((p, Use("declared")) for p in node.extra.get("weights", ()))
    uses += tuple(
        (call.graph.weight(x)[0], Use("declared")) for x in node.inputs if call.kind(x) == "weight" and not uses
    )
    return Effect(
        natural(node, None),
        rule.bound if rule.bound is not None else size,
        slopes,
        uses,
        f"declared: sensitivity {rule.sensitivity:g}",
        proved=rule.proved,
        bound_proved=rule.proved and rule.bound is not None,
        cure="" if rule.proved else "declared by you, not proved",
    )


def _backwards(
    graph: Graph, states: dict[Node, State], declared: Sequence[Region]
) -> tuple[dict[Node, float], dict[Node, bool]]:
    sensitivity = dict.fromkeys(states, 0.0)
    proved = dict.fromkeys(states, True)
    ends = {region.end: region for region in declared}
    inside = {node: region for region in declared for node in region.members}
    for node in graph.outputs:
        if node in states:
            sensitivity[node] += 1.0
    for node in reversed(graph.nodes):
        if node not in states or (sensitivity[node] == 0.0 and node not in graph.outputs):
            continue
        region, slopes = inside.get(node), states[node].effect.slopes
        if region is not None:
            # what is declared is of activations; weights and tokens are felt as the rules inside say
            slopes = tuple(s for s in slopes if s.x in region.members or graph.kind[s.x] != "active")
        for slope in slopes:
            factor = times(slope.factor, conversion(states[slope.x].effect.space, slope.space))
            sensitivity[slope.x] += times(sensitivity[node], factor)
            proved[slope.x] &= proved[node] and states[node].effect.proved
        if node in ends:
            _declared_backwards(graph, states, ends[node], sensitivity, proved)
        felt = {slope.x for slope in states[node].effect.slopes}
        for x in node.inputs:
            if graph.kind[x] == "discrete" and x in states and x not in felt and graph.kind[node] == "active":
                sensitivity[x] = inf  # it selects: a mask, an index
    return sensitivity, proved


def _declared_backwards(
    graph: Graph,
    states: dict[Node, State],
    region: Region,
    sensitivity: dict[Node, float],
    proved: dict[Node, bool],
) -> None:
    """From the output of a module to its inputs, by what is declared of it."""
    end = region.end
    out = conversion(natural(end, None), states[end].effect.space)
    for x in region.sources:
        if graph.kind[x] == "active":
            into = conversion(states[x].effect.space, natural(x, None))
            sensitivity[x] += times(sensitivity[end], region.rule.sensitivity * into * out)
            proved[x] &= proved[end] and region.rule.proved

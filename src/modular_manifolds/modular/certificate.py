"""A proved bound on how much a network, with the weights it has now, can stretch its input."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import inf, isfinite, prod, sqrt
from os import PathLike
from typing import Any

from torch import nn

from modular_manifolds.distributed import gathered
from modular_manifolds.modular.families import COPIES, DROPOUTS, ORDERS, PARTS, REPEATS, RESHAPES
from modular_manifolds.modular.graph import Graph, Node
from modular_manifolds.modular.reading import Rules, check_domain, check_unknown, declarations, read
from modular_manifolds.modular.rule import times
from modular_manifolds.modular.space import Space, conversion
from modular_manifolds.modular.sweep import Setting, Sweep, Unknown, natural, sweep, whole
from modular_manifolds.modular.weights import Measured
from modular_manifolds.plain_data import write_json
from modular_manifolds.text_table import headed

_ROUNDING = 1e-12
"""Relative; for the products of some thousand factors, each rounded."""


@dataclass(frozen=True)
class Layer:
    """One operation of the network.

    Args:
        name: of the node in the captured graph.
        path, kind: of the module it is in.
        operation: e.g. "aten.linear".
        factor: its largest slope, from one of its inputs to its output, each measured in its own norm.
        bound: no output of it is longer on the domain, in the norm of its `space`.
        sensitivity: of the network's output to this operation's.
        reason: the rule, with its numbers.
        cure: where the factor is infinite or very large, what would change that.
    """

    name: str
    path: str
    kind: str
    operation: str
    factor: float
    bound: float
    space: str
    sensitivity: float
    reason: str
    cure: str


@dataclass(frozen=True)
class LipschitzCertificate:
    """For any two inputs of the domain, outputs differ by at most the constant times what the inputs differ by.

    Args:
        lipschitz: from the Euclidean length of one sample's change (all its entries, tokens included) to that of the
            output's. For token inputs, a token that changes is sqrt(2) long, as a one-hot vector.
        lipschitz_rms: from the largest root mean square over samples and tokens (of images: the whole image) to that of
            the output's. For token inputs, a token that changes is 2 long, as a one-hot vector in l1.
        domain: the bound on the input's root mean square, None for all inputs.
        layers: every operation with its factor.
        reasons: why the constants are infinite, or much larger than need be; empty if there is nothing to say.
        proved: False only where `rules` or `unknown` made an estimate part of it.
    """

    lipschitz: float
    lipschitz_rms: float
    domain: float | None
    layers: tuple[Layer, ...]
    reasons: tuple[str, ...]
    proved: bool

    def save(self, path: str | PathLike[str]) -> None:
        """Write all of it as JSON, whole or not at all; what is infinite as "inf"."""
        write_json(path, asdict(self))

    def __str__(self) -> str:
        lines = [("layer", "operation", "factor", "output at most", "sensitivity after", "why")]
        for layer in self.layers:
            numbers = (f"{layer.factor:.6g}", f"{layer.bound:.4g}", f"{layer.sensitivity:.4g}")
            lines.append((layer.path or "-", layer.operation.removeprefix("aten."), *numbers, layer.reason))
        where = "all inputs" if self.domain is None else f"inputs of root mean square at most {self.domain:g}"
        word = "Proved" if self.proved else "ESTIMATED (a rule was declared, not proved)"
        text = headed(lines, right={2, 3, 4})
        text += (
            f"\n\n{word} for {where}: Lipschitz constant {self.lipschitz:.6g} in l2, {self.lipschitz_rms:.6g} in RMS."
        )
        return text + "".join(f"\n  {reason}" for reason in self.reasons)


def certify(
    model: nn.Module,
    example_inputs: tuple[Any, ...],
    domain: float | None = None,
    *,
    rules: Rules | None = None,
    unknown: Unknown = "raise",
) -> LipschitzCertificate:
    """Prove an upper bound on the Lipschitz constant of a model, from its weights as they are now.

    The bound holds for the function that the weights define in exact arithmetic, in evaluation mode, at the shapes of
    the example inputs. Spectral norms are guaranteed upper bounds (`linalg.spectral_norm_bound`). Two sweeps are made,
    by the largest token and by whole samples, and the better result is given for each norm.

    Args:
        model: any module.
        example_inputs: a tuple of positional inputs.
        domain: bound on the root mean square of every token (3 axes) or sample (other shapes); None for all inputs.
            Attention and products are bounded only where their inputs are.
        rules, unknown: as for `modularize`; what is declared there without proof makes `proved` False. Geometries and
            masses in `rules` do not matter here: weights are where they are.

    Raises:
        CaptureError, UnknownOperationError, TypeError: as for `modularize`.
        ValueError: the domain is negative, or a weight is not finite.
    """
    if domain is not None:
        check_domain(domain)
    check_unknown(unknown)
    reading = read(model, example_inputs, dict(rules or {}))
    graph, weights = reading.graph, Measured()
    for node in graph.parameters:
        if node.fixed is not None and not bool(gathered(node.fixed).isfinite().all()):
            raise ValueError(f"{node.name} has a NaN or an Inf: nothing can be proved of this model")
    size = inf if domain is None else float(domain)
    spaces = {node: natural(node, reading.wanted.get(node)) for node in graph.inputs}
    bounds = {node: times(size, conversion(stated(node), spaces[node])) for node in graph.inputs}
    fine = sweep(graph, Setting(weights, bounds, spaces, reading.wanted, reading.rules, reading.declared, unknown))
    coarse_spaces = {node: whole(node) for node in graph.inputs}
    coarse_bounds = {node: times(size, conversion(stated(node), coarse_spaces[node])) for node in graph.inputs}
    setting = Setting(
        weights, coarse_bounds, coarse_spaces, {}, reading.rules, reading.declared, unknown, other=fine.states
    )
    coarse = sweep(graph, setting)
    slack = 1 + _ROUNDING * len(graph.nodes)
    results = [_constants(graph, fine, by_token=True), _constants(graph, coarse, by_token=False)]
    l2, rms = (min(result[i] for result in results) * slack for i in (0, 1))
    best = fine if results[0][0] <= results[1][0] else coarse
    used = [fine if results[0][i] <= results[1][i] else coarse for i in (0, 1)]
    proved = all(swept.proved[node] for swept in used for node in graph.inputs)
    layers = tuple(_layers(graph, best))
    reasons = (*_reasons(layers, l2, graph, best), *declarations(reading.declared))
    return LipschitzCertificate(l2, rms, domain, layers, reasons, proved)


def stated(node: Node) -> Space:
    """The norm that the domain is stated in: of three axes every token, else every sample, by its root mean square."""
    if len(node.shape) == 3:
        return Space.of(node.shape, "max").with_role(-1, "rms")
    return whole(node)


def _constants(graph: Graph, swept: Sweep, *, by_token: bool) -> tuple[float, float]:
    """Lipschitz constants in l2 and in RMS, from one sweep.

    Several inputs change together: in l2 their parts add up as a root of squares, in RMS the largest one counts.
    """
    stretch = 0.0
    outputs = [node for node in graph.outputs if node in swept.states]  # others are constants
    for node in outputs:
        space = swept.states[node].effect.space
        stretch += conversion(space, whole(node)) ** 2 * prod(node.shape[1:])
    stretch = sqrt(stretch)
    last = max((conversion(swept.states[node].effect.space, _shown(node)) for node in outputs), default=0.0)
    squares, total = 0.0, 0.0
    for node in graph.inputs:
        s = swept.sensitivity[node]
        space = swept.states[node].effect.space
        if graph.kind[node] == "active":
            per_sample = prod(node.shape[1:])
            into = conversion(whole(node), space) / sqrt(per_sample) if per_sample else 0.0
            total += times(s, conversion(stated(node), space))
        else:
            # by the token, a change is measured in l1, where it is sqrt(2) times as long as in l2
            into = sqrt(2) if by_token else 1 / sqrt(max(prod(node.shape[1:]), 1))
            total += s if by_token else s / sqrt(2)
        squares += times(s, into) ** 2
    return times(stretch, sqrt(squares)), times(last, total)


def _shown(node: Node) -> Space:
    """What `lipschitz_rms` measures an output in: images by the whole, everything else by its last axis."""
    if len(node.shape) > 3 or len(node.shape) < 2:
        return whole(node)
    return Space.of(node.shape, "max").with_role(-1, "rms")


def _layers(graph: Graph, swept: Sweep) -> Iterator[Layer]:
    for node in graph.nodes:
        state = swept.states.get(node)
        if state is None or graph.kind[node] != "active" or node.op == "input":
            continue
        effect = state.effect
        factors = [
            times(s.factor, conversion(swept.states[s.x].effect.space, s.space))
            for s in effect.slopes
            if s.x in swept.states
        ]
        if node.op in _SILENT and all(factor <= 1 for factor in factors):
            continue
        kind = node.modules[-1][1].rpartition(".")[2] if node.modules else ""
        yield Layer(
            node.name,
            node.path,
            kind,
            node.op,
            max(factors, default=0.0),
            effect.bound,
            str(effect.space),
            swept.sensitivity[node],
            effect.reason,
            effect.cure,
        )


_SILENT = COPIES | RESHAPES | ORDERS | PARTS | REPEATS | DROPOUTS
"""Operations that are left out of the list of layers where they stretch nothing."""


def _reasons(layers: tuple[Layer, ...], constant: float, graph: Graph, swept: Sweep) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for layer in layers:
        where = f"{layer.path or 'model'} ({layer.operation})"
        if not isfinite(layer.factor):
            found[f"{where} is not bounded: {layer.reason}. To change that: {layer.cure or 'bound its inputs'}"] = None
        elif layer.cure and layer.factor > 10:
            found[f"{where} stretches by {layer.factor:.4g}: {layer.reason}. To change that: {layer.cure}"] = None
        elif "declared" in layer.reason or "no rule" in layer.reason:
            found[f"{where}: {layer.reason}"] = None
    if not isfinite(constant) and not found:
        chosen = [
            node.name for node in graph.inputs if graph.kind[node] == "discrete" and swept.sensitivity[node] == inf
        ]
        text = (
            f"the whole-number inputs {', '.join(chosen)} select what is computed"
            if chosen
            else "the product overflows"
        )
        found[text] = None
    return tuple(found)

"""Computations that are one thing to the theory but several operations to torch, found and made one node."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import torch

from modular_manifolds.modular.families import COPIES, REPEATS
from modular_manifolds.modular.graph import CaptureError, Graph, Node, substitute

_SAME = COPIES | REPEATS


def fuse(graph: Graph) -> Graph:
    """The graph with normalisations, the tanh form of GELU and rotary embeddings as one node each."""
    for match in (_normalisation, _gelu, _rotary):
        change: dict[Node, Node] = {}
        for node in graph.nodes:
            found = match(graph, node) if graph.kind[node] == "active" else None
            if found is not None:
                change[node] = found
        if change:
            graph = replace(graph, change)
    return graph


def replace(graph: Graph, change: dict[Node, Node]) -> Graph:
    """The graph with some nodes computed by others, which take their places."""
    nodes = []
    for node in graph.nodes:
        new = change.get(node)
        if new is None:
            node.args, node.kwargs = substitute(node.args, change), substitute(node.kwargs, change)
            nodes.append(node)
        else:
            new.args, new.kwargs = substitute(new.args, change), substitute(new.kwargs, change)
            nodes.append(new)
    return Graph(nodes, [change.get(node, node) for node in graph.outputs])


def _same(node: Any) -> Any:
    """What a node is a copy of."""
    while isinstance(node, Node) and node.op in _SAME:
        node = node.args[0]
    return node


def _is(node: Any, *ops: str) -> bool:
    return isinstance(node, Node) and node.op in {f"aten.{op}" for op in ops}


@dataclass(frozen=True)
class Size:
    """scale times the root mean square of x over some dimensions."""

    x: Node
    dims: tuple[int, ...]
    scale: float = 1.0


def _mean_square(node: Any) -> Size | None:
    node = _same(node)
    if not _is(node, "mean"):
        return None
    square = _same(node.args[0])
    x = None
    if (
        (_is(square, "pow") and square.args[1] == 2)
        or _is(square, "square")
        or (_is(square, "mul") and _same(square.args[0]) is _same(square.args[1]))
    ):
        x = square.args[0]
    dims = node.arg(1, "dim")
    if x is None or dims is None or not node.arg(2, "keepdim", False):
        return None  # without keepdim, the mean would be broadcast along other axes
    return Size(_same(x), _positive(dims, x.shape))


def _size(node: Any) -> Size | None:
    """What a node is, if it is the size of something."""
    node = _same(node)
    if _is(node, "sqrt"):
        return _mean_square(node.args[0])
    if _is(node, "linalg_vector_norm") and node.arg(1, "ord", 2) == 2 and node.arg(3, "keepdim", False):
        x = node.args[0]
        dims = _positive(node.arg(2, "dim"), x.shape)
        return Size(_same(x), dims, sqrt(prod(x.shape[d] for d in dims)))
    if _is(node, "mul", "div") and isinstance(node.args[1], int | float):
        inner = _size(node.args[0])
        factor = node.args[1] if node.op == "aten.mul" else 1 / node.args[1]
        return inner and Size(inner.x, inner.dims, inner.scale * factor)
    return None


def _positive(dims: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(d % len(shape) for d in (dims if isinstance(dims, list | tuple) else [dims]))


def _normalisation(graph: Graph, node: Node) -> Node | None:
    """x / sqrt(mean(x^2) + eps), or x / max(size(x), floor)."""
    if _is(node, "mul"):
        for x, r in (node.args[:2], node.args[1::-1]):
            if _is(_same(r), "rsqrt"):
                return _with_eps(node, x, _same(r).args[0])
    if _is(node, "div") and len(node.args) == 2:
        x, r = node.args[0], _same(node.args[1])
        if _is(r, "sqrt"):
            return _with_eps(node, x, r.args[0])
        if _is(r, "clamp_min", "clamp", "maximum"):
            size, floor = _size(r.args[0]), r.arg(1, "min")
            if isinstance(floor, Node) and graph.kind[floor] == "constant" and graph.value(floor).numel() == 1:
                floor = float(graph.value(floor))
            if size is not None and size.x is _same(x) and isinstance(floor, int | float) and r.arg(2, "max") is None:
                return _fused(node, "fused.floored_rms_norm", x, dims=size.dims, scale=size.scale, floor=float(floor))
    return None


def _with_eps(node: Node, x: Node, radicand: Any) -> Node | None:
    radicand = _same(radicand)
    eps = 0.0
    if _is(radicand, "add") and isinstance(radicand.args[1], int | float):
        eps, radicand = float(radicand.args[1]), radicand.args[0]
    size = _mean_square(radicand)
    if size is None or size.x is not _same(x):
        return None
    return _fused(node, "fused.rms_norm", x, dims=size.dims, eps=eps)


def _gelu(graph: Graph, node: Node) -> Node | None:
    """x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    if not _is(node, "mul"):
        return None
    for half, gate in (node.args[:2], node.args[1::-1]):
        if not (_is(half, "mul") and half.args[1] == 0.5 and _is(gate, "add") and gate.args[1] == 1.0):
            continue
        x, tanh = half.args[0], gate.args[0]
        inner: Any = tanh.args[0] if _is(tanh, "tanh") else None
        if not (_is(inner, "mul") and abs(float(inner.args[1]) - 0.7978845608028654) < 1e-9):
            continue
        total = inner.args[0]
        cubic: Any = total.args[1] if _is(total, "add") and total.args[0] is x else None
        if _is(cubic, "mul") and cubic.args[1] == 0.044715 and _is(cubic.args[0], "pow"):
            power = cubic.args[0]
            if power.args[0] is x and power.args[1] == 3:
                fused = _fused(node, "aten.gelu", x)
                fused.kwargs = {"approximate": "tanh"}
                return fused
    return None


_LINEAR = {"aten.neg", "aten.slice", "aten.narrow", "aten.cat", "aten.add", "aten.sub", "aten.mul"}


def _rotary(graph: Graph, node: Node) -> Node | None:
    """A map of each position's entries to as many, linear with constant coefficients, such as a rotary embedding."""
    if not _is(node, "add", "cat") or len(node.shape) < 3:
        return None
    region: dict[Node, None] = {}
    sources: set[Node] = set()
    if not _gather(graph, node, region, sources) or len(sources) != 1:
        return None
    (x,) = sources
    cuts = any(n.op in ("aten.slice", "aten.narrow") for n in region)
    if not cuts or x.shape != node.shape or len(region) > 40:
        return None
    gain = _gain(graph, node, list(region), x)
    return None if gain is None else _fused(node, "fused.rotary", x, gain=gain)


def _gather(graph: Graph, node: Node, region: dict[Node, None], sources: set[Node]) -> bool:
    if node.op not in _LINEAR and node.op not in COPIES:
        sources.add(node)
        return len(sources) == 1
    last = len(node.shape) - 1
    actives = [n for n in node.inputs if graph.kind[n] == "active"]
    others = [n for n in node.inputs if graph.kind[n] != "active"]
    if any(graph.kind[n] != "constant" for n in others) or not actives:
        return False
    if node.op in ("aten.slice", "aten.narrow") and node.arg(1, "dim", 0) % (last + 1) != last:
        return False
    if node.op == "aten.cat" and (node.arg(1, "dim", 0) % (last + 1) != last or others):
        return False
    if node.op == "aten.mul" and len(actives) != 1:
        return False
    if node.op in ("aten.add", "aten.sub") and (len(actives) != 2 or node.kwargs.get("alpha", 1) != 1):
        return False
    if not all(_gather(graph, n, region, sources) for n in actives):
        return False
    region[node] = None
    return True


def _gain(graph: Graph, node: Node, region: list[Node], x: Node) -> float | None:
    """Upper bound on the map's spectral norm at any position: the row sums of M^T M, for its matrices M."""
    constants = [n for r in region for n in r.inputs if graph.kind[n] == "constant"]
    d, ndim = x.shape[-1], len(x.shape)
    sizes = list(x.shape)
    for axis in range(ndim - 1):
        if all(len(c.shape) < ndim - axis or c.shape[axis - ndim] == 1 for c in constants):
            sizes[axis] = 1
    if sizes[0] != 1:
        return None
    sizes[0] = d
    basis = torch.zeros(sizes, dtype=torch.float64)
    for j in range(d):
        basis[j, ..., j] = 1.0
    values: dict[Node, Any] = {x: basis, **{c: graph.value(c).double() for c in constants}}

    def look(value: Any) -> Any:
        if isinstance(value, Node):
            return values[value]
        return [look(item) for item in value] if isinstance(value, list | tuple) else value

    for r in region:
        values[r] = look(r.args[0]) if r.op in COPIES else r.target(*(look(a) for a in r.args), **r.kwargs)
    matrices = values[node].movedim(0, -1)  # (..., out, in)
    gram = matrices.mT @ matrices
    return float(gram.abs().sum(-1).amax().sqrt())


def _fused(node: Node, op: str, x: Node, **extra: Any) -> Node:
    return Node(node.name, op, (x,), {}, node.shape, node.dtype, node.modules, node.calls, extra=extra)


@dataclass(frozen=True, eq=False)
class Region:
    """One call of a module that has a rule: what it is made of, what it reads, and its one output."""

    rule: Any
    kind: str
    depth: int
    members: frozenset[Node]
    sources: tuple[Node, ...]
    end: Node


def regions(graph: Graph, chosen: Callable[[str, str], Any]) -> list[Region]:
    """Every call of a chosen module, outermost first.

    Args:
        chosen: of a module's path and type name, its rule; None for all others.

    Raises:
        CaptureError: such a module has more than one output that is used.
    """
    found: dict[str, tuple[Any, str, str, int]] = {}
    members: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for depth, (path, kind) in enumerate(node.modules):
            rule = chosen(path, kind)
            if rule is not None:
                key = node.calls[depth] if len(node.calls) > depth else path
                found[key] = (rule, path, kind, depth)
                members.setdefault(key, []).append(node)
                break
    made = []
    for key, (rule, path, kind, depth) in found.items():
        inside = frozenset(members[key])
        moving = [n for n in members[key] if graph.kind[n] == "active"]
        ends = [n for n in moving if n in graph.outputs or any(user not in inside for user in graph.users[n])]
        if len(ends) != 1:
            raise CaptureError(
                f"{path} ({kind}) has {len(ends)} outputs that are used; a rule can only be given to a module with one"
            )
        sources = tuple(dict.fromkeys(n for m in members[key] for n in m.inputs if n not in inside))
        made.append(Region(rule, kind, depth, inside, sources, ends[0]))
    return made


def collapse(graph: Graph, found: list[Region]) -> Graph:
    """The graph with every region as one node, which has its rule in extra["rule"]."""
    change: dict[Node, Node] = {}
    for region in found:
        args = tuple(n for n in region.sources if graph.kind[n] in ("active", "discrete"))
        weights = tuple(dict.fromkeys(graph.weight(n)[0] for n in region.sources if graph.kind[n] == "weight"))
        end, active = region.end, [n for n in args if graph.kind[n] == "active"]
        change[end] = Node(
            end.name,
            f"module {region.kind}",
            (*args, *weights),
            {},
            end.shape,
            end.dtype,
            end.modules[: region.depth + 1],
            extra={"rule": region.rule, "active": active, "weights": weights},
        )
    return replace(graph, change) if change else graph

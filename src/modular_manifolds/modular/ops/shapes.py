"""Operations that move entries, repeat them, or leave some out."""

from math import prod, sqrt
from typing import Any

from modular_manifolds.modular.families import COPIES, ORDERS, PARTS, REPEATS, RESHAPES
from modular_manifolds.modular.graph import Graph, Node
from modular_manifolds.modular.rule import Call, Effect, Slope, rule, wants
from modular_manifolds.modular.space import Dim, Role, Space, broadcast


@rule(*COPIES)
def same(call: Call) -> Effect:
    return call.lipschitz(call.node.args[0], 1.0, reason="a copy")


@rule(*RESHAPES)
def reshape(call: Call) -> Effect:
    x = call.node.args[0]
    space = call.space(x)
    out = space.reshaped(call.node.shape)
    if out is None:
        into = space.all("max")
        return call.lipschitz(x, 1.0, into=into, out=Space.of(call.node.shape, "max"), reason="a view across axes")
    return call.lipschitz(x, 1.0, out=out, reason="a view")


@wants(*RESHAPES)
def wanted_before_reshape(graph: Graph, node: Node, wanted: Space | None) -> dict[Node, Space]:
    before = None if wanted is None else wanted.reshaped(node.args[0].shape)
    return {} if before is None else {node.args[0]: before}


def order(node: Node) -> list[int]:
    """Which dimension of the input each dimension of the output is."""
    n = len(node.shape)
    if node.op == "aten.permute":
        return [d % n for d in node.args[1]]
    axes = list(range(n))
    if node.op in ("aten.transpose", "aten.swapaxes", "aten.swapdims"):
        i, j = (d % n for d in node.args[1:3])
        axes[i], axes[j] = axes[j], axes[i]
        return axes
    if node.op == "aten.mT":
        return [*axes[:-2], axes[-1], axes[-2]]
    if node.op == "aten.movedim":
        sources, targets = ([d % n for d in _list(v)] for v in node.args[1:3])
        rest = [d for d in axes if d not in sources]
        for target, source in sorted(zip(targets, sources, strict=True)):
            rest.insert(target, source)
        return rest
    return axes[::-1]


def _list(value: Any) -> list[int]:
    return list(value) if isinstance(value, list | tuple) else [value]


@rule(*ORDERS)
def reorder(call: Call) -> Effect:
    x = call.node.args[0]
    return call.lipschitz(x, 1.0, out=call.space(x).permuted(order(call.node)), reason="axes change places")


@wants(*ORDERS)
def wanted_before_reorder(graph: Graph, node: Node, wanted: Space | None) -> dict[Node, Space]:
    if wanted is None:
        return {}
    axes = order(node)
    return {node.args[0]: wanted.permuted([axes.index(d) for d in range(len(axes))])}


def _part(node: Node) -> tuple[int, int, int, int]:
    """Dimension, first entry, number of entries and stride of what is kept."""
    x = node.args[0]
    if node.op == "aten.slice":
        dim = node.arg(1, "dim", 0) % len(x.shape)
        start = node.arg(2, "start") or 0
        return dim, max(start + x.shape[dim], 0) if start < 0 else start, node.shape[dim], node.arg(4, "step", 1)
    dim = node.arg(1, "dim", 0) % len(x.shape)
    if node.op == "aten.select":
        return dim, node.args[2] % x.shape[dim], 1, 1
    return dim, node.args[2] % max(x.shape[dim], 1), node.args[3], 1


@rule(*PARTS)
def part(call: Call) -> Effect:
    x = call.node.args[0]
    dim, start, length, step = _part(call.node)
    space = call.space(x)
    total = x.shape[dim]
    axes = space.dims[dim]
    inner = axes[-1][0] if len(axes) == 2 and axes[-1][1] == "rms" and axes[0][1] == "max" else 0
    factor = 1.0
    if inner and step == 1 and start % inner == 0 and length % inner == 0:
        kept: Dim = ((length // inner, "max"), (inner, "rms"))
    else:
        role = space.role(dim) or "rms"
        space = space.with_role(dim, role)
        kept = ((length, role),)
        if role == "rms":
            factor = sqrt(total / length) if length else 1.0
    out = space.with_dim(dim, kept)
    if call.node.op == "aten.select":
        out = Space(out.dims[:dim] + out.dims[dim + 1 :])
    reason = "a part" if factor == 1 else f"a part, {length} of {total}, of a mean"
    return call.lipschitz(x, factor, into=space, out=out, reason=reason)


@wants(*PARTS)
def wanted_before_part(graph: Graph, node: Node, wanted: Space | None) -> dict[Node, Space]:
    """The whole made of blocks like those of the part; without any wish, of parts of this length."""
    x = node.args[0]
    dim, start, length, step = _part(node)
    total = x.shape[dim]
    if step != 1 or length == total or not length:
        return {} if wanted is None or node.op == "aten.select" else {x: wanted}
    if wanted is None:
        if node.op == "aten.select" or dim != len(x.shape) - 1:
            return {}
        wanted = Space.of(node.shape, "max").with_role(dim, "rms")
    dims = list(wanted.dims)
    if node.op == "aten.select":
        dims.insert(dim, ((total, "max"),))
        return {x: Space(tuple(dims)).with_dim(dim, ((total, "max"),))}
    axes = dims[dim]
    inner = prod(n for n, role in axes if role == "rms") if axes else 1
    if total % inner or start % inner or len(axes) > 2 or (len(axes) == 2 and axes[0][1] != "max"):
        return {}
    dims[dim] = ((total // inner, "max"), (inner, "rms"))
    return {x: Space(tuple(dims)).with_dim(dim, dims[dim])}


@rule(*REPEATS)
def expand(call: Call) -> Effect:
    x = call.node.args[0]
    out, factor = broadcast(call.space(x), call.node.shape)
    return call.lipschitz(x, factor, out=out, reason="repeated")


@wants(*REPEATS)
def wanted_before_expand(graph: Graph, node: Node, wanted: Space | None) -> dict[Node, Space]:
    if wanted is None:
        return {}
    x = node.args[0]
    dims = wanted.dims[len(wanted.dims) - len(x.shape) :]
    return {
        x: Space(tuple(dim if prod(n for n, _ in dim) == size else () for dim, size in zip(dims, x.shape, strict=True)))
    }


@rule("repeat", "repeat_interleave", "tile")
def repeat(call: Call) -> Effect:
    x = call.node.args[0]
    into = call.space(x)
    if len(call.node.shape) < len(x.shape):
        out = Space.of(call.node.shape, "max")
        return call.lipschitz(x, 1.0, into=into.all("max"), out=out, reason="repeated, as one row")
    if any(into.role(d) in (None, "sum") for d in range(len(x.shape))):
        into = into.all("max")
    roles: list[Role] = [into.role(d) or "max" for d in range(len(x.shape))]
    new: list[Role] = ["max"] * (len(call.node.shape) - len(roles))
    return call.lipschitz(x, 1.0, into=into, out=Space.of(call.node.shape, (*new, *roles)), reason="repeated")


@rule("cat", "concat", "concatenate", "stack", "hstack")
def join(call: Call) -> Effect:
    tensors = [x for x in call.node.args[0] if prod(x.shape)]
    moving = [x for x in tensors if call.kind(x) in ("active", "weight")]
    shape = call.node.shape
    dim = call.arg(1, "dim", 0) % len(shape)
    if call.node.op == "aten.hstack":
        dim = min(1, len(shape) - 1)
    stacked = call.node.op == "aten.stack"
    first = call.space(moving[0])
    if stacked:
        out = Space((*first.dims[:dim], ((shape[dim], "max"),), *first.dims[dim:]))
        into = dict.fromkeys(moving, first)
    else:
        role = first.role(dim)
        alike = all(call.space(x).with_dim(dim, ()) == first.with_dim(dim, ()) for x in moving)
        if not alike or role is None or role == "sum":
            first, role = first.all("max"), "max"
        out = first.with_dim(dim, ((shape[dim], role),))
        into = {x: first.with_dim(dim, ((x.shape[dim], role),)) for x in moving}
    bound = max(call.length(x, into[x]) for x in moving)
    for x in tensors:
        if x not in moving:
            known = call.kind(x) == "constant"
            bound = max(bound, float(call.graph.value(x).abs().max()) if known else float("inf"))
    weight = {x: sqrt(x.shape[dim] / shape[dim]) if not stacked and out.role(dim) == "rms" else 1.0 for x in moving}
    slopes = tuple(Slope(x, weight[x], into[x]) for x in moving)
    return Effect(out, bound, slopes, reason="side by side")


@wants("cat")
def wanted_before_join(graph: Graph, node: Node, wanted: Space | None) -> dict[Node, Space]:
    """Where only one part is not empty, what is wanted of the whole."""
    tensors = [x for x in node.args[0] if prod(x.shape)]
    return {tensors[0]: wanted} if wanted is not None and len(tensors) == 1 else {}


@rule("constant_pad_nd", "pad")
def pad(call: Call) -> Effect:
    x, value = call.node.args[0], call.arg(2 if call.node.op == "aten.constant_pad_nd" else 3, "value", 0) or 0
    mode = call.arg(2, "mode", "constant") if call.node.op == "aten.pad" else "constant"
    space = call.space(x)
    if any(space.role(d) in (None, "sum") for d in range(len(x.shape))) or mode != "constant":
        space = space.all("max")
    out = Space.of(call.node.shape, tuple(space.role(d) or "max" for d in range(len(x.shape))))
    factor = sqrt(space.entries / out.entries)  # above 1 where more is cut off than added
    return call.lipschitz(x, factor, into=space, out=out, at_zero=abs(float(value)), reason="padded")


@rule("roll", "flip")
def shuffle(call: Call) -> Effect:
    x = call.node.args[0]
    space = call.space(x)
    whole = all(space.role(d) is not None for d in range(len(x.shape)))
    if call.node.op == "aten.roll" and not call.arg(2, "dims", []):
        whole = False  # through all dimensions as if they were one
    return call.lipschitz(x, 1.0, into=space if whole else space.all("max"), reason="entries change places")


@rule("index_select", "index", "gather")
def pick(call: Call) -> Effect:
    """Entries chosen by whole numbers, perhaps several times over."""
    x = call.node.args[0]
    space = call.space(x)
    if call.node.op == "aten.index_select":
        dim = call.node.args[1] % len(x.shape)
        into = space.with_role(dim, "max")
        out = into.with_dim(dim, ((call.node.shape[dim], "max"),))
        return call.lipschitz(x, 1.0, into=into, out=out, reason="entries are picked")
    return call.lipschitz(
        x, 1.0, into=space.all("max"), out=Space.of(call.node.shape, "max"), reason="entries are picked"
    )

"""Attention, in one operation or step by step.

Softmax takes maxima to sums with slope 1, as 4 p (1 - p) <= 1, and a weighted mean of vectors is no longer than the
longest. With logits t <q, k> / d for heads of size d and root mean squares |q|, |k|, |v|, an output moves by at most
t |k| |v| for q, t |q| |v| for k, and 1 for v (Large et al., arXiv 2405.14813; per head, which matters).
"""

from math import inf, log, sqrt
from typing import Any

from modular_manifolds.modular.families import COPIES, DROPOUTS
from modular_manifolds.modular.graph import Graph, Node
from modular_manifolds.modular.rule import Call, Effect, Slope, rule, times, wants
from modular_manifolds.modular.space import Role, Space

_CURE = "bound queries and keys: state a domain, or normalise them (RMSNorm of q and k, or of what they are made from)"


@rule("scaled_dot_product_attention")
def attention(call: Call) -> Effect:
    q, k, v = call.node.args[:3]
    d = q.shape[-1]
    scale = call.arg(6, "scale")
    temperature = d * abs(float(scale)) if scale is not None else sqrt(d)
    mask = call.arg(3, "attn_mask")
    if call.arg(4, "dropout_p", 0.0):
        return _random(call)
    sizes = {x: call.bound(x, rows(x)) for x in (q, k, v)}
    tokens = call.space(q).role(-2)
    spread = 1.0
    if tokens == "rms":
        # over the whole sample: a query moves only its own output, a key or a value may move all of them
        into = {x: Space.samples(x.shape) for x in (q, k, v)}
        out = Space.samples(call.node.shape)
        spread = sqrt(k.shape[-2])
    else:
        into = {x: rows(x) for x in (q, k, v)}
        out = rows(call.node)
    slopes = [
        Slope(q, times(temperature, times(sizes[k], sizes[v])), into[q]),
        Slope(k, times(temperature * spread, times(sizes[q], sizes[v])), into[k]),
        Slope(v, spread, into[v]),
    ]
    if call.kind(mask) in ("active", "weight"):
        slopes.append(Slope(mask, sizes[v], call.space(mask).all("max")))
    merged: dict[Node, Slope] = {}
    for slope in slopes:
        before = merged.get(slope.x)
        merged[slope.x] = slope if before is None else Slope(slope.x, before.factor + slope.factor, slope.space)
    finite = all(slope.factor < inf for slope in slopes)
    reason = (
        f"attention, logits {temperature:.4g} <q, k> / {d}: slopes {slopes[0].factor:.4g} (q), "
        f"{slopes[1].factor:.4g} (k), {slopes[2].factor:.4g} (v), from lengths a head of at most {sizes[q]:.4g} (q), "
        f"{sizes[k]:.4g} (k), {sizes[v]:.4g} (v)"
    )
    cure = "" if finite else _CURE
    return Effect(out, sizes[v], tuple(merged.values()), reason=reason, cure=cure)


def _random(call: Call) -> Effect:
    from modular_manifolds.modular.ops.elementwise import unknown_product

    return unknown_product(call, "attention with a dropout that stays on in evaluation")


def rows(x: Node) -> Space:
    """Every token of every head by itself."""
    return Space.of(x.shape, "max").with_role(-1, "rms")


@wants("scaled_dot_product_attention")
def wanted_by_attention(graph: Graph, node: Node, wanted: Space | None) -> dict[Node, Space]:
    return {x: rows(x) for x in node.args[:3]}


@rule("softmax", "_softmax", "special_softmax")
def softmax(call: Call) -> Effect:
    x = call.node.args[0]
    dim = call.arg(1, "dim", -1)
    into = Space.of(x.shape, "max")
    out = into.with_role(dim, "sum")
    return call.lipschitz(
        x,
        1.0,
        into=into,
        out=out,
        at_zero=1.0,
        cap=1.0,
        capped=True,
        reason="softmax, from largest logit to total weight: 4 p (1 - p) <= 1",
    )


@rule("log_softmax", "_log_softmax")
def log_softmax(call: Call) -> Effect:
    into = Space.of(call.node.shape, "max")
    return call.lipschitz(
        call.node.args[0],
        2.0,
        into=into,
        at_zero=log(call.node.shape[call.arg(1, "dim", -1)]),
        reason="log-softmax: |dx| + |p.dx|",
    )


@wants("softmax", "_softmax", "log_softmax", "_log_softmax")
def wanted_by_softmax(graph: Graph, node: Node, wanted: Space | None) -> dict[Node, Space]:
    return {node.args[0]: Space.of(node.shape, "max")}


_THROUGH = COPIES | DROPOUTS


def is_simplex(x: Any) -> bool:
    """Whether x comes out of a softmax over its last dimension."""
    while isinstance(x, Node) and x.op in _THROUGH:
        x = x.args[0]
    return (
        isinstance(x, Node) and x.op in ("aten.softmax", "aten._softmax") and x.arg(1, "dim") in (-1, len(x.shape) - 1)
    )


def matmul_of_activations(call: Call, x: Node, y: Node) -> Effect:
    """Weights of a softmax times values, or inner products of two lists of vectors."""
    if is_simplex(x):
        into_x = Space.of(x.shape, "max").with_role(-1, "sum")
        rest: Role = "rms" if len(y.shape) > 1 else "max"
        into_y = Space.of(y.shape, "max").with_role(-1, rest)
        sizes = {x: call.bound(x, into_x), y: call.bound(y, into_y)}
        out = Space.of(call.node.shape, "max")
        out = out.with_role(-1, rest) if out.dims else out
        slopes = (Slope(x, sizes[y], into_x), Slope(y, sizes[x], into_y))
        return Effect(
            out,
            times(sizes[x], sizes[y]),
            slopes,
            reason=f"means of vectors of root mean square at most {sizes[y]:.4g}",
            cure="" if sizes[y] < inf else "bound the values, by a domain or a normalisation",
        )
    d = x.shape[-1]
    into_x = Space.of(x.shape, "max").with_role(-1, "rms")
    into_y = Space.of(y.shape, "max").with_role(_summed(y), "rms")
    first, second = call.bound(x, into_x), call.bound(y, into_y)
    finite = max(first, second) < inf
    slopes = (Slope(x, times(d, second), into_x), Slope(y, times(d, first), into_y))
    return Effect(
        Space.of(call.node.shape, "max"),
        times(d, times(first, second)),
        slopes,
        reason=f"inner products over {d} entries of root mean squares at most {first:.4g} and {second:.4g}",
        cure="" if finite else _CURE,
    )


def wanted_by_matmul(graph: Graph, node: Node, wanted: Space | None) -> dict[Node, Space]:
    x, y = node.args[:2]
    if is_simplex(x):
        return {y: Space.of(y.shape, "max").with_role(-1, "rms")}
    return {
        x: Space.of(x.shape, "max").with_role(-1, "rms"),
        y: Space.of(y.shape, "max").with_role(_summed(y), "rms"),
    }


def _summed(y: Node) -> int:
    """The dimension of a product's second factor that is summed over."""
    return max(len(y.shape) - 2, 0)

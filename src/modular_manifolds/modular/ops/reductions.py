"""Means, sums, maxima and pools."""

from math import ceil, prod, sqrt
from typing import Any

from modular_manifolds.modular.graph import Graph, Node
from modular_manifolds.modular.ops.elementwise import unknown_product
from modular_manifolds.modular.rule import Call, Effect, rule, wants
from modular_manifolds.modular.space import Space


def _dims(call: Call, x: Node) -> list[int]:
    dims = call.arg(1, "dim")
    if dims is None or dims == []:
        return list(range(len(x.shape)))
    return [d % len(x.shape) for d in (dims if isinstance(dims, list | tuple) else [dims])]


def _without(space: Space, dims: list[int], keep: bool) -> Space:
    if keep:
        return Space(tuple(() if d in dims else dim for d, dim in enumerate(space.dims)))
    return Space(tuple(dim for d, dim in enumerate(space.dims) if d not in dims))


@rule("mean", "sum")
def mean(call: Call) -> Effect:
    x = call.node.args[0]
    dims = _dims(call, x)
    count = prod(x.shape[d] for d in dims)
    space = call.space(x)
    if any(space.role(d) is None or space.role(d) == "sum" for d in dims):
        for d in dims:
            space = space.with_role(d, "rms" if space.role(d) is None else "max")
    if any(role == "sum" for _, role in space.axes):
        space = space.all("max")
    factor = float(count) if call.node.op == "aten.sum" else 1.0
    out = _without(space, dims, bool(call.arg(2, "keepdim", False)))
    reason = (
        f"a sum of {count}" if call.node.op == "aten.sum" else "a mean is at most the largest, or the root mean square"
    )
    return call.lipschitz(x, factor, into=space, out=out, reason=reason)


@rule("amax", "amin", "max", "min")
def extreme(call: Call) -> Effect:
    x = call.node.args[0]
    dims = _dims(call, x)
    if len(call.node.args) > 1 and isinstance(call.node.args[1], Node):
        return unknown_product(call, "the larger of two tensors")
    space = call.space(x).all("max")
    out = _without(space, dims, bool(call.arg(2, "keepdim", False)))
    return call.lipschitz(x, 1.0, into=space, out=out, reason="maxima move no more than the entries")


@rule("maximum", "minimum")
def larger(call: Call) -> Effect:
    return unknown_product(call, "the larger of two tensors")


@rule("avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d")
def pool(call: Call) -> Effect:
    """By pixels: slope 1. In l2: an average of n reads every pixel at most `reads` times, with weight 1/n."""
    x = call.node.args[0]
    largest = "max_pool" in call.node.op
    k = int(call.node.op[-2])
    kernel = _each(call.node.args[1], k)
    stride = _each(call.arg(2, "stride") or kernel, k)
    space = call.space(x)
    return _pooled(call, x, space, k, kernel, stride, largest)


def _pooled(call: Call, x: Node, space: Space, k: int, kernel: list[int], stride: list[int], largest: bool) -> Effect:
    pixels = range(len(x.shape) - k, len(x.shape))
    coarse = all(space.role(d) == "rms" for d in pixels) and not all(x.shape[d] == 1 for d in pixels)
    for d in pixels:
        space = space.with_role(d, "rms" if coarse else "max")
    factor = 1.0
    if coarse:
        reads = prod(ceil(n / s) for n, s in zip(kernel, stride, strict=True))
        before, after = prod(x.shape[d] for d in pixels), prod(call.node.shape[d] for d in pixels)
        factor = sqrt(reads * before / after / (1 if largest else prod(kernel)))
    out = Space.of(call.node.shape, "max")
    for d, dim in enumerate(space.dims):
        role: Any = space.role(d)
        out = out.with_dim(d, dim) if x.shape[d] == call.node.shape[d] else out.with_role(d, role or "max")
    return call.lipschitz(x, factor, into=space, out=out, reason="a pool of pixels")


@rule("adaptive_avg_pool1d", "adaptive_avg_pool2d")
def adaptive(call: Call) -> Effect:
    x = call.node.args[0]
    k = int(call.node.op[-2])
    pixels = range(len(x.shape) - k, len(x.shape))
    if any(x.shape[d] % call.node.shape[d] for d in pixels):
        return unknown_product(call, "a pool with windows of several sizes")
    kernel = [x.shape[d] // call.node.shape[d] for d in pixels]
    return _pooled(call, x, call.space(x), k, kernel, kernel, False)


@wants("avg_pool2d", "max_pool2d", "adaptive_avg_pool2d")
def wanted_by_pool(graph: Graph, node: Node, wanted: Space | None) -> dict[Node, Space]:
    x = node.args[0]
    return {x: Space.of(x.shape, "max").with_role(len(x.shape) - 3, "rms")}


def _each(value: Any, count: int) -> list[int]:
    each = list(value) if isinstance(value, list | tuple) else [value]
    return each * count if len(each) == 1 else each


@rule("linalg_vector_norm")
def vector_norm(call: Call) -> Effect:
    """The length of a vector moves no more than the vector."""
    x = call.node.args[0]
    dims = call.arg(2, "dim")
    if call.arg(1, "ord", 2) != 2 or dims is None:
        return unknown_product(call, "this norm")
    dims = [d % len(x.shape) for d in (dims if isinstance(dims, list | tuple) else [dims])]
    space = call.space(x).all("max")
    for d in dims:
        space = space.with_role(d, "rms")
    out = _without(space, dims, bool(call.arg(3, "keepdim", False)))
    factor = sqrt(prod(x.shape[d] for d in dims))
    return call.lipschitz(x, factor, into=space, out=out, reason="the triangle inequality")

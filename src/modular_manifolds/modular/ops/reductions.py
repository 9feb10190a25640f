"""Means, sums, maxima and pools."""

from dataclasses import dataclass
from math import ceil, gcd, prod, sqrt
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
    if len(call.node.args) > 1 and isinstance(call.node.args[1], Node):
        return unknown_product(call, "the larger of two tensors")
    dims = _dims(call, x)
    space = call.space(x).all("max")
    out = _without(space, dims, bool(call.arg(2, "keepdim", False)))
    return call.lipschitz(x, 1.0, into=space, out=out, reason="maxima move no more than the entries")


@rule("maximum", "minimum")
def larger(call: Call) -> Effect:
    return unknown_product(call, "the larger of two tensors")


@rule("avg_pool1d", "avg_pool2d", "avg_pool3d")
def average(call: Call) -> Effect:
    """Args: x, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override."""
    k = int(call.node.op[-2])
    windows = _windows(call, k, [1] * k)
    padded = bool(call.arg(5, "count_include_pad", True))
    override = call.arg(6, "divisor_override")
    weights = [w.weights(padded or override is not None) for w in windows]
    if override is not None:
        # of a window as it is, and over its divisor
        full = prod(w.kernel for w in windows)
        weights = [(w.most / w.kernel, w.most / w.kernel**2) for w in windows]
        weights[0] = (weights[0][0] * full / override, weights[0][1] * (full / override) ** 2)
    slope, square = (prod(each) for each in zip(*weights, strict=True))
    return _pooled(call, slope, sqrt(square * prod(w.reads for w in windows)))


@rule("max_pool1d", "max_pool2d", "max_pool3d")
def largest(call: Call) -> Effect:
    """Args: x, kernel, stride, padding, dilation, ceil_mode. Every channel may take another pixel of a window."""
    x, k = call.node.args[0], int(call.node.op[-2])
    windows = _windows(call, k, _each(call.arg(4, "dilation", 1), k))
    inner = call.space(x)
    for d in range(len(x.shape) - k, len(x.shape)):
        inner = inner.with_role(d, "max")
    slope = sqrt(min(prod(w.kernel for w in windows), inner.entries))
    return _pooled(call, slope, sqrt(prod(w.reads for w in windows)))


@dataclass(frozen=True)
class _Windows:
    """Where a pool looks, along one dimension of n pixels: every window's first pixel, of the padded row."""

    n: int
    starts: range
    kernel: int
    padding: int
    dilation: int = 1

    def _inside(self, start: int) -> int:
        pixels = range(start - self.padding, start - self.padding + self.kernel * self.dilation, self.dilation)
        return sum(0 <= p < self.n for p in pixels)

    @property
    def most(self) -> int:
        """Pixels in the fullest window."""
        return max(self._inside(start) for start in self.starts)

    @property
    def reads(self) -> int:
        """How many windows read a pixel, at most."""
        step = self.starts.step // gcd(self.starts.step, self.dilation)
        return min(ceil(self.kernel / step), len(self.starts))

    def weights(self, padded: bool) -> tuple[float, float]:
        """The largest sum of a window's weights, and of their squares; windows that stick out have fewer pixels."""
        sums, squares = [], []
        for start in self.starts:
            inside = self._inside(start)
            by = min(self.kernel, self.n + 2 * self.padding - start) if padded else inside
            sums.append(inside / by)
            squares.append(inside / by**2)
        return max(sums), max(squares)


def _windows(call: Call, k: int, dilation: list[int]) -> list[_Windows]:
    x = call.node.args[0]
    kernel = _each(call.node.args[1], k)
    stride = _each(call.arg(2, "stride") or kernel, k)
    padding = _each(call.arg(3, "padding", 0), k)
    return [
        _Windows(n, range(0, m * s, s), size, p, d)
        for n, m, size, s, p, d in zip(
            x.shape[-k:], call.node.shape[-k:], kernel, stride, padding, dilation, strict=True
        )
    ]


def _pooled(call: Call, by_pixel: float, in_l2: float) -> Effect:
    """Slopes by the largest pixel, and in l2 of all pixels."""
    x, k = call.node.args[0], int(call.node.op[-2])
    pixels = range(len(x.shape) - k, len(x.shape))
    space = call.space(x)
    if any(role == "sum" for _, role in space.axes):
        space = space.all("max")
    coarse = all(space.role(d) == "rms" for d in pixels)
    for d in pixels:
        space = space.with_role(d, "rms" if coarse else "max")
    factor = by_pixel
    if coarse:
        before, after = prod(x.shape[d] for d in pixels), prod(call.node.shape[d] for d in pixels)
        factor = in_l2 * sqrt(before / after)
    roles: list[Any] = [space.role(d) or "max" for d in range(len(x.shape))]
    out = Space.of(call.node.shape, tuple(roles))
    for d in range(len(x.shape) - k):
        out = out.with_dim(d, space.dims[d])
    return call.lipschitz(x, factor, into=space, out=out, reason="a pool of pixels")


@rule("adaptive_avg_pool1d", "adaptive_avg_pool2d")
def adaptive(call: Call) -> Effect:
    x = call.node.args[0]
    k = int(call.node.op[-2])
    ratios = [n / m for n, m in zip(x.shape[-k:], call.node.shape[-k:], strict=True)]
    if any(ratio != int(ratio) for ratio in ratios):
        return unknown_product(call, "a pool with windows of several sizes")
    return _pooled(call, 1.0, 1 / sqrt(prod(ratios)))


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

"""How the features of a network's activations go through its operations, and which transformations pass."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from modular_manifolds.modular.families import COPIES, DROPOUTS, ORDERS, PARTS, REPEATS, RESHAPES
from modular_manifolds.modular.gauge_features import RIGID, Features, Mark
from modular_manifolds.modular.graph import CaptureError, Graph, Node

Passing = Callable[["Walk", Node], Tensor]

_PASSING: dict[str, Passing] = {}

_HOMOGENEOUS = Mark.POINTWISE | Mark.NO_SIGN
_ODD = Mark.POINTWISE | Mark.NO_SCALE

_POINTWISE: dict[str, Mark] = {
    **dict.fromkeys(("relu", "relu_", "leaky_relu", "leaky_relu_", "abs"), _HOMOGENEOUS),
    **dict.fromkeys(("tanh", "sin", "atan", "erf", "asinh", "softsign"), _ODD),
    **dict.fromkeys(
        ("relu6", "cos", "sigmoid", "silu", "silu_", "gelu", "gelu_", "mish", "selu", "elu", "celu", "softplus", "exp"),
        RIGID,
    ),
    **dict.fromkeys(("hardswish", "hardsigmoid", "log_sigmoid", "square", "pow", "hardtanh", "clamp_min"), RIGID),
    "neg": Mark(0),
}
"""Functions of one entry: a positively homogeneous one commutes with positive factors, an odd one with signs."""


def passing(*ops: str) -> Callable[[Passing], Passing]:
    """Decorator that enters what passes an operation of aten (or of "namespace.name")."""

    def enter(function: Passing) -> Passing:
        for op in ops:
            _PASSING[op if "." in op else f"aten.{op}"] = function
        return function

    return enter


class Walk:
    """The features of every activation of a graph, in a tensor of its shape."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.features = graph, Features()
        self.unknown: set[str] = set()
        """Parameters that are used in a way that is not understood."""
        self._of: dict[Node, Tensor] = {}
        self._given_up = 0
        for node in graph.nodes:
            active = graph.kind[node] == "active" and node.op != "input"
            if not active and any(graph.kind[x] == "active" for x in node.inputs):
                self.give_up(node)  # whole numbers that are made of activations
            self._of[node] = self._pass(node) if active else nothing(node)
        for node in graph.outputs:
            self.features.mark(self.of(node), Mark.FIXED)

    def of(self, x: Any) -> Tensor:
        """The features of a node; of a weight, those along its last axis."""
        if isinstance(x, Node) and self.graph.kind[x] == "weight":
            parameter, transposed = self.graph.weight(x)
            if not parameter.shape or x.shape[-1:] == (1,):
                return nothing(x)
            axis = len(parameter.shape) - (2 if transposed else 1)
            return self.features.along(parameter.name, axis, x.shape[-1]).expand(x.shape)
        return self._of[x]

    def moves(self, x: Any) -> bool:
        """Whether x is a tensor with parameters in it."""
        return isinstance(x, Node) and self.graph.kind[x] in ("active", "weight")

    def give_up(self, node: Node) -> Tensor:
        """Nothing is known of what an operation is made of, nor of what it makes."""
        for x in node.inputs:
            if self.graph.kind[x] == "weight":
                self.unknown.add(self.graph.weight(x)[0].name)
            elif self.graph.kind[x] == "active":
                self.features.mark(self.of(x), Mark.UNKNOWN)
        self._given_up += 1
        result = self.features.along("", self._given_up, 1)
        self.features.mark(result, Mark.UNKNOWN)
        return result.reshape(()).expand(node.shape)

    def _pass(self, node: Node) -> Tensor:
        rule = _PASSING.get(node.op)
        sources = [x for x in node.inputs if self.moves(x)]
        if not any(self.graph.kind[x] == "weight" or self.of(x).any() for x in sources):
            return nothing(node)
        if rule is None or "rule" in node.extra or node.extra.get("index", 0):
            return self.give_up(node)
        try:
            return rule(self, node)
        except (CaptureError, RuntimeError, IndexError, KeyError):
            return self.give_up(node)  # an unusual shape


def nothing(node: Node) -> Tensor:
    """For what is not moved."""
    return torch.zeros((), dtype=torch.int64).expand(node.shape)


def _row(features: Tensor, dim: int = -1) -> Int[Tensor, " n"] | None:
    """The features along an axis, if they are the same everywhere."""
    rows = features.movedim(dim, -1)
    rows = rows.reshape(-1, rows.shape[-1])
    return rows[0] if len(rows) and bool((rows == rows[0]).all()) else None


def _varies(features: Tensor, dim: int) -> bool:
    return bool((features != features.narrow(dim, 0, 1)).any()) if features.shape[dim] else False


def _rows(walk: Walk, features: Tensor, dim: int = -1) -> None:
    """Rows along an axis are taken as wholes, each by itself."""
    labels = features.amin(dim, keepdim=True).expand_as(features)
    walk.features.separate(features, labels)


@passing(*COPIES, *DROPOUTS)
def same(walk: Walk, node: Node) -> Tensor:
    return walk.of(node.args[0])


@passing(*RESHAPES)
def reshaped(walk: Walk, node: Node) -> Tensor:
    return walk.of(node.args[0]).reshape(node.shape)


@passing(*REPEATS)
def repeated(walk: Walk, node: Node) -> Tensor:
    return walk.of(node.args[0]).broadcast_to(node.shape)


@passing(*ORDERS)
def ordered(walk: Walk, node: Node) -> Tensor:
    moved: Tensor = node.target(walk.of(node.args[0]), *node.args[1:], **node.kwargs)
    return moved


@passing(*PARTS)
def part(walk: Walk, node: Node) -> Tensor:
    """What is kept does not mix with what is not."""
    whole = walk.of(node.args[0])
    kept: Tensor = node.target(whole, *node.args[1:], **node.kwargs)
    walk.features.separate(whole, torch.isin(whole, kept).long())
    return kept


@passing("cat", "stack")
def joined(walk: Walk, node: Node) -> Tensor:
    together: Tensor = node.target([walk.of(x) for x in node.args[0]], *node.args[1:], **node.kwargs)
    return together


@passing(*_POINTWISE)
def pointwise(walk: Walk, node: Node) -> Tensor:
    features = walk.of(node.args[0])
    if any(walk.moves(x) for x in node.inputs[1:]):
        return walk.give_up(node)
    walk.features.mark(features, _POINTWISE[node.op.removeprefix("aten.")])
    return features


@passing("linear")
def linear(walk: Walk, node: Node) -> Tensor:
    x, w = node.args[:2]
    return _matrix(walk, node, x, w, node.arg(2, "bias"), transposed=False)


@passing("addmm")
def addmm(walk: Walk, node: Node) -> Tensor:
    bias, x, w = node.args[:3]
    if node.kwargs:
        return walk.give_up(node)
    return _matrix(walk, node, x, w, bias, transposed=True)


@passing("matmul", "mm", "bmm")
def matmul(walk: Walk, node: Node) -> Tensor:
    x, y = node.args[:2]
    if walk.graph.kind[y] == "weight" and len(y.shape) == 2:
        return _matrix(walk, node, x, y, None, transposed=True)
    a, b = walk.of(x), walk.of(y)
    if walk.graph.kind[x] == "weight" or len(b.shape) < 2 or len(a.shape) != len(b.shape):
        return walk.give_up(node)
    if not a.any():
        # numbers that are not moved, such as the weights of an attention, times a list of vectors
        if _varies(b, -2):
            return walk.give_up(node)
        _rows(walk, b[..., 0, :])
        return b[..., :1, :].expand(node.shape)
    if _varies(a, -2) or _varies(b, -1):
        return walk.give_up(node)
    left, right = a[..., 0, :], b[..., :, 0]
    walk.features.merge(left, right, dual=True)
    _rows(walk, left)
    return nothing(node)


def _matrix(walk: Walk, node: Node, x: Node, w: Any, bias: Any, *, transposed: bool) -> Tensor:
    """W x: what W reads is undone along its inputs, what it makes is new."""
    row = _row(walk.of(x))
    kind = walk.graph.kind[w]
    if row is None or kind not in ("weight", "constant"):
        return walk.give_up(node)
    out = nothing(node)
    if kind == "weight":
        parameter, turned = walk.graph.weight(w)
        if len(parameter.shape) != 2:
            return walk.give_up(node)
        m, n = parameter.shape
        swapped = transposed ^ turned
        made, read = ((1, n), (0, m)) if swapped else ((0, m), (1, n))
        walk.features.merge(row, walk.features.along(parameter.name, *read), dual=True)
        out = walk.features.along(parameter.name, *made).expand(node.shape)
    else:
        walk.features.mark(row, Mark.FIXED)
    if isinstance(bias, Node):
        walk.features.merge(out, walk.of(bias))
    return out


@passing("embedding")
def embedding(walk: Walk, node: Node) -> Tensor:
    w, tokens = node.args[:2]
    if walk.graph.kind[w] == "constant" and not walk.moves(tokens):
        return nothing(node)
    if walk.graph.kind[w] != "weight":
        return walk.give_up(node)
    return walk.of(w)[0].expand(node.shape)


@passing("conv1d", "conv2d", "conv3d", "convolution")
def convolution(walk: Walk, node: Node) -> Tensor:
    x, w, bias = node.args[0], node.args[1], node.arg(2, "bias")
    general = node.op == "aten.convolution"
    groups = node.args[8] if general else node.arg(6, "groups", 1)
    channels = len(x.shape) - len(w.shape) + 1
    row = _row(walk.of(x), channels)
    plain = walk.graph.kind[w] == "weight" and w.op == "parameter"
    if groups != 1 or row is None or not plain or (general and node.args[6]):
        return walk.give_up(node)
    walk.features.merge(row, walk.features.along(w.name, 1, w.shape[1]), dual=True)
    made = walk.features.along(w.name, 0, w.shape[0])
    if isinstance(bias, Node):
        walk.features.merge(made, walk.of(bias))
    return made.reshape(-1, *(1,) * (len(w.shape) - 2)).expand(node.shape)


@passing("add", "add_", "sub", "sub_", "rsub")
def added(walk: Walk, node: Node) -> Tensor:
    x, y = node.args[:2]
    if not isinstance(x, Node) or not isinstance(y, Node):
        (source,), number = node.inputs, y if isinstance(x, Node) else x
        features = walk.of(source)
        walk.features.mark(features, RIGID if number else Mark(0))
        return features
    a, b = walk.of(x), walk.of(y)
    for one, other, source in ((a, b, y), (b, a, x)):
        if one.any() and not other.any() and _even(other, one, node.shape):
            features = one.broadcast_to(node.shape)  # all shifted by one number
            zero = walk.graph.kind[source] == "constant" and not walk.graph.value(source).any()
            walk.features.mark(features, Mark(0) if zero else RIGID)
            return features
        if walk.graph.kind[source] == "weight" and not other.any():
            return walk.give_up(node)
    a, b = a.broadcast_to(node.shape), b.broadcast_to(node.shape)
    walk.features.merge(a, b)
    return torch.where(a == 0, 0, b)


@passing("mul", "mul_", "div", "div_")
def multiplied(walk: Walk, node: Node) -> Tensor:
    x, y = node.args[:2]
    if not isinstance(x, Node) or not isinstance(y, Node):
        if "div" in node.op and not isinstance(x, Node):
            return walk.give_up(node)
        return walk.of(x if isinstance(x, Node) else y)
    a, b = walk.of(x), walk.of(y)
    if "div" in node.op and b.any():
        return walk.give_up(node)
    for rest, factor in ((a, b), (b, a)):
        if not factor.any() and _even(factor, rest, node.shape):
            return rest.broadcast_to(node.shape)
    features = walk.features
    a, b = a.broadcast_to(node.shape), b.broadcast_to(node.shape)
    if not a.any() or not b.any():
        if "weight" in (walk.graph.kind[x], walk.graph.kind[y]):
            return walk.give_up(node)
        features.mark(a, Mark.FIXED)
        features.mark(b, Mark.FIXED)
        return nothing(node)
    for gate, rest, source in ((b, a, y), (a, b, x)):
        if walk.graph.kind[source] == "weight":
            features.mark(gate, RIGID)  # a gain goes where its feature goes
        if RIGID in features.marks(gate) | Mark.POINTWISE:
            features.tie(gate, rest)
            return rest
    features.mark(a, RIGID)
    features.mark(b, RIGID)
    features.tie(a, b)
    return a


def _even(factor: Tensor, features: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a factor is the same for all features: it has one entry along every axis along which they vary."""
    features = features.broadcast_to(shape)
    sizes = (1,) * (len(shape) - factor.ndim) + tuple(factor.shape)
    return all(size == 1 or not _varies(features, d) for d, size in enumerate(sizes))


@passing("mean", "sum")
def mean(walk: Walk, node: Node) -> Tensor:
    """Over tokens or pixels."""
    features, dims = walk.of(node.args[0]), node.arg(1, "dim")
    dims = range(features.ndim) if dims is None else dims if isinstance(dims, list | tuple) else [dims]
    for dim in dims:
        if _varies(features, dim):
            return walk.give_up(node)
        features = features.narrow(dim, 0, 1)
    return features.reshape(node.shape)


@passing("avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "max_pool1d", "max_pool2d")
def pool(walk: Walk, node: Node) -> Tensor:
    features, k = walk.of(node.args[0]), int(node.op[-2])
    for dim in range(features.ndim - k, features.ndim):
        if _varies(features, dim):
            return walk.give_up(node)
        features = features.narrow(dim, 0, 1)
    if "max" in node.op:
        walk.features.mark(features, _HOMOGENEOUS)
    return features.expand(node.shape)


@passing("rms_norm", "fused.rms_norm", "fused.floored_rms_norm", "layer_norm")
def normalised(walk: Walk, node: Node) -> Tensor:
    """The root mean square of a row is invariant under rotations, its mean under permutations alone."""
    x = node.args[0]
    dims = node.extra.get("dims", ())
    last = dims == (len(x.shape) - 1,) if dims else len(node.args[1]) == 1
    if not last:
        return walk.give_up(node)
    features = walk.of(x)
    _rows(walk, features)
    walk.features.mark(features, RIGID if node.op == "aten.layer_norm" else Mark.NO_SCALE)
    gain = None if dims else node.arg(2, "weight")
    bias = node.arg(3, "bias") if node.op == "aten.layer_norm" else None
    if walk.moves(gain):
        gains = walk.of(gain).expand(node.shape)
        walk.features.mark(gains, RIGID)
        walk.features.tie(features, gains)
    elif isinstance(gain, Node):
        walk.features.mark(features, Mark.FIXED)
    if isinstance(bias, Node):
        walk.features.merge(features, walk.of(bias).expand(node.shape))
    return features


@passing("softmax", "_softmax", "log_softmax", "_log_softmax")
def softmax(walk: Walk, node: Node) -> Tensor:
    features = walk.of(node.args[0])
    if features.any():
        _rows(walk, features, node.arg(1, "dim", -1))
        walk.features.mark(features, RIGID)
    return features


@passing("scaled_dot_product_attention")
def attention(walk: Walk, node: Node) -> Tensor:
    """Inner products of queries and keys are left as they are by rotations of both, means of values by none."""
    q, k, v = (walk.of(x) for x in node.args[:3])
    mask = node.arg(3, "attn_mask")
    if any(_varies(x, -2) for x in (q, k, v)) or (walk.moves(mask) and walk.of(mask).any()):
        return walk.give_up(node)
    heads = q.shape[-3] if q.ndim > 3 else 1
    q, k, v = (x[..., :1, :] for x in (q, k, v))
    if q.ndim > 3 and k.shape[-3] != heads:
        k, v = (x.repeat_interleave(heads // x.shape[-3], -3) for x in (k, v))
    walk.features.merge(q, k, dual=True)
    for x in (q, k, v):  # the heads' weights differ
        _rows(walk, x)
    return v.expand(node.shape)

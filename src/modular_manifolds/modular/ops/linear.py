"""Operations with weights: matrices, embeddings, convolutions."""

from dataclasses import replace
from math import ceil, gcd, inf, prod, sqrt
from typing import Any

from modular_manifolds.modular.graph import Graph, Node
from modular_manifolds.modular.ops.attention import matmul_of_activations, wanted_by_matmul
from modular_manifolds.modular.ops.elementwise import added, before, unknown_product
from modular_manifolds.modular.rule import Call, Effect, Slope, Use, rule, wants
from modular_manifolds.modular.space import Dim, Space, blocks_of


@rule("linear")
def linear(call: Call) -> Effect:
    x, w = call.node.args[:2]
    return matrix_product(call, x, w, call.arg(2, "bias"), transposed=False)


@rule("addmm", "baddbmm")
def addmm(call: Call) -> Effect:
    """b + x w, as GPT-2's Conv1D computes."""
    bias, x, w = call.node.args[:3]
    if (
        call.active(w)
        or call.active(bias)
        or len(w.shape) != 2
        or call.node.kwargs.get("alpha", 1) != 1
        or call.node.kwargs.get("beta", 1) != 1
    ):
        return unknown_product(call, "a product of two activations and a sum in one")
    return matrix_product(call, x, w, bias, transposed=True)


@rule("matmul", "mm", "bmm")
def matmul(call: Call) -> Effect:
    x, y = call.node.args[:2]
    if call.active(y) and call.kind(x) in ("active", "constant"):
        return matmul_of_activations(call, x, y)
    if call.active(x) and len(y.shape) == 2:
        return matrix_product(call, x, y, None, transposed=True)
    return unknown_product(call, "a product with a weight on the left, or with a batch of weights")


@wants("matmul", "mm", "bmm")
def wanted_by_product(graph: Graph, node: Node, wanted: Space | None) -> dict[Node, Space]:
    x, y = node.args[:2]
    if graph.kind[x] == graph.kind[y] == "active":
        return wanted_by_matmul(graph, node, wanted)
    return {x: rows_of(x)} if graph.kind[x] == "active" else {}


@wants("linear")
def wanted_by_linear(graph: Graph, node: Node, wanted: Space | None) -> dict[Node, Space]:
    return {node.args[0]: rows_of(node.args[0])}


@wants("addmm")
def wanted_by_addmm(graph: Graph, node: Node, wanted: Space | None) -> dict[Node, Space]:
    return {node.args[1]: rows_of(node.args[1])}


def rows_of(x: Node) -> Space:
    """Every token or sample by its root mean square."""
    return Space.of(x.shape, "max").with_role(-1, "rms")


def matrix_product(call: Call, x: Node, w: Any, bias: Any, *, transposed: bool) -> Effect:
    """W x along the last dimension; `transposed` if w is (in, out)."""
    d_out, d_in = call.node.shape[-1], x.shape[-1]
    axes: Dim = ((d_out, "rms"),)
    if call.wanted is not None and blocks_of(call.wanted.dims[-1]) is not None:
        axes = call.wanted.dims[-1]
    count = (blocks_of(axes) or (1, d_out))[0]
    into = call.space(x).with_dim(-1, ((d_in, "rms"),))
    if any(role == "sum" for _, role in into.axes):
        into = into.all("max").with_dim(-1, ((d_in, "rms"),))
    if any(role == "rms" for dim in into.dims[:-1] for _, role in dim) and count > 1:
        axes, count = ((d_out, "rms"),), 1  # a maximum over blocks would be taken outside of the mean over tokens
    out = into.with_dim(-1, axes)
    uses: list[tuple[Node, Use]] = []
    if call.kind(w) == "weight":
        parameter, turned = call.graph.weight(w)
        use = Use("matrix", transposed=transposed ^ turned, blocks=count)
        gain = call.believe(call.weights.gain(parameter, use))
        uses.append((parameter, use))
    elif call.kind(w) == "constant":
        holder = Node(w.name, "constant", shape=w.shape, fixed=call.graph.value(w))
        gain = call.weights.gain(holder, Use("matrix", transposed=transposed, blocks=count))[0]
    else:
        return unknown_product(call, "a matrix that is computed from other parameters")
    shift = 0.0
    moving: tuple[Slope, ...] = ()
    if isinstance(bias, Node):
        if call.kind(bias) == "weight":
            vector, _ = call.graph.weight(bias)
            shift, use = added(call, vector, out)
            uses.append((vector, use))
        elif call.kind(bias) == "constant":
            shift = float(call.graph.value(bias).abs().max())
        else:
            inner = before(out, bias.shape)
            shift = call.length(bias, inner)
            moving = (Slope(bias, 1.0, inner),)
    per = f", the largest of {count} blocks" if count > 1 else ""
    reason = f"root-mean-square gain sqrt(in/out) sigma_max = {gain:.6g}{per}"
    effect = call.lipschitz(x, gain, into=into, out=out, at_zero=shift, reason=reason, uses=tuple(uses))
    return replace(effect, slopes=effect.slopes + moving)


@rule("embedding")
def embedding(call: Call) -> Effect:
    """A row of the table for each token; tokens that differ are 2 apart in l1, sqrt(2) in l2."""
    w, tokens = call.node.args[:2]
    d = call.node.shape[-1]
    coarse = call.other is not None
    lead = call.space(tokens) if call.kind(tokens) == "discrete" else Space.of(tokens.shape, "max")
    out = Space((*lead.dims, ((d, "rms"),)))
    uses: tuple[tuple[Node, Use], ...] = ()
    if call.kind(w) == "weight":
        parameter, _ = call.graph.weight(w)
        size = call.believe(call.weights.row(parameter))
        uses = ((parameter, Use("embedding")),)
    elif call.kind(w) == "constant":
        holder = Node(w.name, "constant", shape=w.shape, fixed=call.graph.value(w))
        size = call.weights.row(holder)[0]
    else:
        return unknown_product(call, "a table that is computed")
    slopes: tuple[Slope, ...] = ()
    if call.kind(tokens) == "discrete":
        slopes = (Slope(tokens, size * (sqrt(2) if coarse else 1.0), lead),)
    return Effect(out, size, slopes, uses, f"rows of root mean square at most {size:.6g}")


@rule("conv1d", "conv2d", "conv3d", "convolution")
def convolution(call: Call) -> Effect:
    x, w, bias = call.node.args[0], call.node.args[1], call.arg(2, "bias")
    kernel = tuple(w.shape[2:])
    k = len(kernel)
    stride = _each(call.arg(3, "stride", 1), k)
    if call.node.op == "aten.convolution":
        if call.node.args[6]:
            return unknown_product(call, "a transposed convolution")
        groups = call.node.args[8]
    else:
        groups = call.arg(6, "groups", 1)
    space = call.space(x)
    channels = len(x.shape) - k - 1
    pixels = [space.role(d) for d in range(channels + 1, len(x.shape))]
    coarse = all(role == "rms" for role in pixels) and space.entries > x.shape[channels]
    into, out = (_pixels(shape, channels, coarse) for shape in (x.shape, call.node.shape))
    use = Use("convolution", groups=groups, kernel=kernel)
    uses: list[tuple[Node, Use]] = []
    if call.kind(w) == "weight":
        parameter, _ = call.graph.weight(w)
        uses.append((parameter, use))
    elif call.kind(w) == "constant":
        parameter = Node(w.name, "constant", shape=w.shape, fixed=call.graph.value(w))
    else:
        return unknown_product(call, "a kernel that is computed from other parameters")
    gain = call.believe(call.weights.gain(parameter, use))
    reason = f"the taps' root-mean-square gains add up to {gain:.6g}"
    if coarse:
        # in l2: shifts are isometries, or the unfolded kernel reads every pixel at most `reads` times
        dilation = _each(call.arg(5, "dilation", 1), k)
        reads = prod(ceil(n / (s // gcd(s, d))) for n, s, d in zip(kernel, stride, dilation, strict=True))
        unfolded = getattr(call.weights, "unfolded", None)
        if unfolded is not None:
            gain = min(gain, sqrt(reads) * unfolded(parameter, use))
        gain *= sqrt(prod(x.shape[channels + 1 :]) / prod(call.node.shape[channels + 1 :]))
        reason = f"gain of the convolution in l2, over sqrt of the sizes: {gain:.6g}"
    shift = 0.0
    if isinstance(bias, Node) and call.kind(bias) == "weight":
        vector, _ = call.graph.weight(bias)
        shift = call.shift(call.weights.size(vector, 1))
        uses.append((vector, Use("vector")))
    elif isinstance(bias, Node):
        shift = float(call.graph.value(bias).abs().max()) if call.kind(bias) == "constant" else inf
    return call.lipschitz(x, gain, into=into, out=out, at_zero=shift, reason=reason, uses=tuple(uses))


@wants("conv1d", "conv2d", "conv3d", "convolution")
def wanted_by_convolution(graph: Graph, node: Node, wanted: Space | None) -> dict[Node, Space]:
    """Every pixel by the root mean square of its channels."""
    x = node.args[0]
    channels = len(x.shape) - (len(node.args[1].shape) - 2) - 1
    return {x: Space.of(x.shape, "max").with_role(channels, "rms")}


def _pixels(shape: tuple[int, ...], channels: int, coarse: bool) -> Space:
    """Every pixel by the root mean square of its channels; if `coarse`, all pixels together."""
    space = Space.of(shape, "max")
    for d in range(channels, len(shape) if coarse else channels + 1):
        space = space.with_role(d, "rms")
    return space


def _each(value: Any, count: int) -> list[int]:
    each = list(value) if isinstance(value, list | tuple) else [value]
    return each * count if len(each) == 1 else each

"""Functions of one entry at a time, sums, and products."""

from dataclasses import replace
from math import erf, exp, inf, pi, prod, sqrt
from typing import Any

import torch

from modular_manifolds.modular.families import COPIES, DROPOUTS
from modular_manifolds.modular.graph import Graph, Node
from modular_manifolds.modular.rule import Call, Effect, Slope, Use, rule, times, wants
from modular_manifolds.modular.space import Space, blocks_of, broadcast

GELU = 0.5 * (1 + erf(1)) + exp(-1) / sqrt(pi)
"""Greatest slope of GELU, at sqrt(2): 1.128904..."""
GELU_TANH = 1.1290
"""At least that of its tanh form, 1.128993."""
SILU = 1.0998393202
"""At least that of x sigmoid(x), 1.09983932013."""
SELU = 1.0507009873554805 * 1.6732632423543772
MISH = 1.0885
"""At least that of x tanh(log(1 + e^x)), 1.0884982."""
SIXTH = 0.16666667164
"""At least 1/6 as torch has it, in single precision whatever the dtype."""

# slope, value at 0, largest absolute value
_FUNCTIONS: dict[str, tuple[float, float, float]] = {
    "relu": (1, 0, inf),
    "relu_": (1, 0, inf),
    "relu6": (1, 0, 6),
    "abs": (1, 0, inf),
    "neg": (1, 0, inf),
    "tanh": (1, 0, 1),
    "sin": (1, 0, 1),
    "cos": (1, 1, 1),
    "atan": (1, 0, pi / 2),
    "erf": (2 / sqrt(pi), 0, 1),
    "sigmoid": (0.25, 0.5, 1),
    "silu": (SILU, 0, inf),
    "silu_": (SILU, 0, inf),
    "mish": (MISH, 0, inf),
    "selu": (SELU, 0, inf),
    "hardswish": (9 * SIXTH, 0, inf),
    "hardsigmoid": (SIXTH, 0.5, 1),
    "log_sigmoid": (1, 0.6931471805599454, inf),
}


@rule(*_FUNCTIONS)
def function(call: Call) -> Effect:
    slope, at_zero, cap = _FUNCTIONS[call.node.op.removeprefix("aten.")]
    x = call.node.args[0]
    return call.lipschitz(x, slope, at_zero=at_zero, cap=_cap(call, x, cap), reason=f"greatest slope {slope:.6g}")


def _cap(call: Call, x: Node, cap: float) -> float:
    """A bound on every entry bounds maxima and means alike, but not sums."""
    return cap if all(role != "sum" for _, role in call.space(x).axes) else inf


@rule("gelu", "gelu_")
def gelu(call: Call) -> Effect:
    tanh = call.arg(1, "approximate", "none") == "tanh"
    slope = GELU_TANH if tanh else GELU
    x = call.node.args[0]
    # |gelu(x)| <= |x|, as Phi lies between 0 and 1
    size = call.length(x, call.space(x))
    return call.lipschitz(x, slope, cap=size, reason=f"greatest slope {slope:.6g}, at sqrt(2); |gelu(x)| <= |x|")


@rule("leaky_relu", "elu", "celu")
def leaky(call: Call) -> Effect:
    name, alpha = call.node.op, float(call.arg(1, "negative_slope", 0.01 if "leaky" in call.node.op else 1.0))
    slope = max(1.0, abs(alpha)) if name != "aten.celu" else 1.0 if alpha > 0 else inf
    if name == "aten.elu":
        scale, inner = float(call.arg(2, "scale", 1)), float(call.arg(3, "input_scale", 1))
        slope = abs(scale) * max(1.0, abs(alpha * inner))
    return call.lipschitz(call.node.args[0], slope, reason=f"greatest slope {slope:.6g}")


@rule("softplus")
def softplus(call: Call) -> Effect:
    beta, threshold = float(call.arg(1, "beta", 1)), float(call.arg(2, "threshold", 20))
    if threshold < 15:
        return unknown_product(call, "a softplus that jumps at its threshold")
    return call.lipschitz(call.node.args[0], 1.0, at_zero=0.6931471805599454 / abs(beta), reason="greatest slope 1")


@rule("clamp", "clamp_min", "clamp_max", "hardtanh")
def clamp(call: Call) -> Effect:
    x, low, high = call.node.args[0], call.arg(1, "min"), call.arg(2, "max")
    if call.node.op == "aten.hardtanh":
        low, high = call.arg(1, "min_val", -1.0), call.arg(2, "max_val", 1.0)
    elif call.node.op == "aten.clamp_max":
        low, high = None, call.arg(1, "max")
    limits = [v for v in (low, high) if v is not None]
    if any(isinstance(v, Node) for v in limits):
        return unknown_product(call, "limits that are tensors")
    at_zero = abs(min(max(0.0, low if low is not None else -inf), high if high is not None else inf))
    cap = max(abs(low), abs(high)) if low is not None and high is not None else inf
    return call.lipschitz(x, 1.0, at_zero=at_zero, cap=_cap(call, x, cap), reason="clamping moves no two values apart")


@rule(*DROPOUTS, "native_dropout")
def dropout(call: Call) -> Effect:
    if call.arg(2, "train", False):
        return unknown_product(call, "a dropout that is told to be in training")
    return call.lipschitz(call.node.args[0], 1.0, reason="dropout does nothing in evaluation")


@rule("pow")
def power(call: Call) -> Effect:
    x, exponent = call.node.args[:2]
    if not isinstance(exponent, int | float) or exponent < 1 or isinstance(x, int | float):
        return unknown_product(call, f"a power of {exponent}")
    entries = call.bound(x, call.space(x).all("max"))
    slope = times(exponent, entries ** (exponent - 1) if exponent > 1 else 1.0)
    cure = "" if slope < inf else "bound what is raised to a power, for example by a normalisation before it"
    return call.lipschitz(
        x, slope, reason=f"slope {exponent} x^{exponent - 1}, entries at most {entries:.4g}", cure=cure
    )


@rule("square")
def square(call: Call) -> Effect:
    call.node.args = (call.node.args[0], 2)
    return power(call)


@rule("add", "add_", "sub", "sub_", "rsub")
def add(call: Call) -> Effect:
    """Both terms' changes add up."""
    alpha = abs(float(call.arg(2, "alpha", 1)))
    first, second = call.node.args[:2]
    terms = (
        (first, alpha if call.node.op == "aten.rsub" else 1.0),
        (second, 1.0 if call.node.op == "aten.rsub" else alpha),
    )
    moving = [(x, c) for x, c in terms if call.active(x)]
    data = not moving  # weights alone, which are then what moves
    moving = moving or [(x, c) for x, c in terms if call.kind(x) == "weight"]
    out = _common(call, [x for x, _ in moving])
    bound, slopes, uses = 0.0, [], []
    for x, c in terms:
        kind = call.kind(x)
        if kind == "active" or (kind == "weight" and data):
            into = before(out, x.shape)
            slopes.append(Slope(x, c, into))
            bound += times(c, call.length(x, into))
        elif kind == "weight":
            parameter, turned = call.graph.weight(x)
            if turned and len(x.shape) > 1:
                into = before(out, x.shape)
                slopes.append(Slope(x, c, into))
                bound += times(c, call.length(x, into))
                continue
            bias, use = added(call, parameter, out)
            bound += times(c, bias)
            uses.append((parameter, replace(use, factor=times(c, use.factor))))
        elif kind == "number":
            bound += c * abs(float(x))
        elif kind == "constant":
            bound += c * float(call.graph.value(x).abs().max()) if call.graph.value(x).numel() else 0.0
        else:
            bound = inf  # a whole number of unknown size
    reason = "changes of the terms add up" if len(moving) > 1 else "a shift"
    return Effect(out, bound, tuple(slopes), tuple(uses), reason)


def added(call: Call, parameter: Node, out: Space) -> tuple[float, Use]:
    """How long a parameter is that is added to something measured in `out`, and its use."""
    last = out.dims[-1] if out.dims else ()
    if parameter.shape and parameter.shape[-1] != prod(n for n, _ in last):
        last = ()  # one number along the whole of it
    longer = sqrt(prod(n for n, role in last if role != "rms"))
    if any(n > 1 for n in parameter.shape[:-1]):
        # a table of vectors, such as learned positions: each is as long as its row
        return longer * call.shift(call.weights.row(parameter)), Use("embedding", factor=longer)
    blocks = blocks_of(last)
    if blocks is None:
        return longer * call.shift(call.weights.size(parameter, 1)), Use("vector", factor=longer)
    return call.shift(call.weights.size(parameter, blocks[0])), Use("vector", factor=longer)


def _common(call: Call, terms: list[Node]) -> Space:
    """A norm for a sum: the coarser of its terms', broadcast to the sum's shape."""
    shape = call.node.shape
    spaces = [broadcast(call.space(x), shape)[0] for x in terms]
    best = max(spaces, key=lambda s: s.entries)
    return best if all(role != "sum" for s in spaces for _, role in s.axes) else best.all("max")


def before(space: Space, shape: tuple[int, ...]) -> Space:
    """The norm of what is broadcast into `space` from a smaller shape."""
    skipped = len(space.dims) - len(shape)
    return Space(
        tuple(
            dim if n == size else ()
            for dim, n, size in zip(space.dims[skipped:], space.shape[skipped:], shape, strict=True)
        )
    )


@rule("mul", "mul_")
def multiply(call: Call) -> Effect:
    x, y = call.node.args[:2]
    if not call.active(x) and (call.active(y) or call.kind(y) == "weight"):
        x, y = y, x
    if call.active(y) or call.kind(x) == call.kind(y) == "weight":
        return product(call, x, y)
    return scaled(call, x, y, inverse=False)


@rule("div", "div_")
def divide(call: Call) -> Effect:
    x, y = call.node.args[:2]
    if call.active(y) or call.kind(y) == "weight":
        return unknown_product(call, "division by what moves")
    if call.node.kwargs.get("rounding_mode") is not None:
        return unknown_product(call, "a division that rounds")
    return scaled(call, x, y, inverse=True)


def scaled(call: Call, x: Node, y: Any, inverse: bool) -> Effect:
    kind = call.kind(y)
    out = broadcast(call.space(x), call.node.shape)[0]
    into = before(out, x.shape)
    if kind == "weight":
        parameter, _ = call.graph.weight(y)
        factor = call.believe(call.weights.entry(parameter))
        cure = "" if call.weights.measured else "gains are free to grow; the bound is for their present values"
        effect = call.lipschitz(x, factor, into=into, out=out, reason=f"gains at most {factor:.6g}", cure=cure)
        return Effect(
            effect.space, effect.bound, effect.slopes, ((parameter, Use("gain")),), effect.reason, cure=effect.cure
        )
    if kind == "number":
        factor = abs(1 / float(y) if inverse else float(y))
    elif kind == "constant":
        value = call.graph.value(y).double()
        factor = float((1 / value if inverse else value).abs().max()) if value.numel() else 0.0
    elif y.dtype == torch.bool:
        factor = 1.0
    else:
        return unknown_product(call, "a factor that depends on whole-number inputs")
    return call.lipschitz(x, factor, into=into, out=out, reason=f"scaled by {factor:.6g}")


def product(call: Call, x: Node, y: Node) -> Effect:
    """x y: the change of each is multiplied by the largest entry of the other."""
    out = _common(call, [x, y])
    slopes, sizes = [], {}
    for one, other in ((x, y), (y, x)):
        sizes[one] = call.bound(other, call.space(other).all("max"))
        slopes.append(Slope(one, sizes[one], before(out, one.shape)))
    bound = min(
        times(sizes[x], call.bound(x, before(out, x.shape))), times(sizes[y], call.bound(y, before(out, y.shape)))
    )
    reason = f"a product: entries are at most {sizes[y]:.4g} and {sizes[x]:.4g}"
    cure = "" if max(sizes.values()) < inf else "bound both factors, by a domain or a normalisation before them"
    return Effect(out, bound, tuple(slopes), reason=reason, cure=cure)


def unknown_product(call: Call, what: str) -> Effect:
    """No rule fits: every input has an infinite slope."""
    moving = [x for x in call.node.inputs if call.active(x)]
    space = Space.of(call.node.shape, "max")
    slopes = tuple(Slope(x, inf, call.space(x)) for x in moving)
    cure = f"give {call.node.path or 'this operation'} a rule, or write it in operations that have one"
    return Effect(space, inf, slopes, reason=f"no bound is known for {what}", cure=cure)


@rule("where", "masked_fill", "masked_fill_")
def choose(call: Call) -> Effect:
    """Entries of one or of the other."""
    candidates = call.node.args[1:3] if call.node.op == "aten.where" else (call.node.args[0], call.node.args[2])
    moving = [x for x in candidates if call.kind(x) in ("active", "weight")]
    out = _common(call, moving)
    bound = 0.0
    for x in candidates:
        if x in moving:
            bound += call.length(x, before(out, x.shape))
        elif call.kind(x) == "number":
            bound += abs(float(x))
        elif call.kind(x) == "constant" and call.graph.value(x).numel():
            bound += float(call.graph.value(x).abs().max())
        else:
            bound = inf
    slopes = tuple(Slope(x, 1.0, before(out, x.shape)) for x in moving)
    return Effect(out, bound, slopes, reason="entries are chosen, not changed")


@wants(
    *_FUNCTIONS,
    *("gelu", "leaky_relu", "elu", "celu", "softplus", "clamp", "clamp_min", "clamp_max", "hardtanh", "div"),
    "fused.rotary",
    *COPIES | DROPOUTS,
)
def passed_on(graph: Graph, node: Node, wanted: Space | None) -> dict[Node, Space]:
    x = node.args[0]
    return {x: wanted} if wanted is not None and isinstance(x, Node) and x.shape == node.shape else {}


@wants("add", "mul")
def passed_to_one(graph: Graph, node: Node, wanted: Space | None) -> dict[Node, Space]:
    moving = [x for x in node.inputs if graph.kind[x] == "active"]
    return {moving[0]: wanted} if wanted is not None and len(moving) == 1 and moving[0].shape == node.shape else {}


@rule("fused.rotary")
def rotary(call: Call) -> Effect:
    """A rotation of pairs of features, at every position by its own angle."""
    x = call.node.args[0]
    gain = call.node.extra["gain"]
    if not call.weights.measured and abs(gain - 1) < 1e-6:
        gain = 1.0  # the cosines and sines of a rotation, each rounded
    into = call.space(x).with_role(-1, "rms")
    return call.lipschitz(
        x, gain, into=into, reason="a linear map of every position's features, with these coefficients"
    )

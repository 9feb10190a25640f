"""Division by a size: smooth only as far as that size stays away from zero."""

from math import inf, sqrt
from typing import Any

from modular_manifolds.modular.graph import Graph, Node
from modular_manifolds.modular.rule import Call, Effect, Use, rule, times, wants
from modular_manifolds.modular.space import Space

_CURE = (
    "the slope is that at an input of size 0: keep inputs away from it, with a floor "
    "(mm.nn.RMSNorm(floor=1.0), which divides by max(RMS, floor)) or a larger eps"
)


def normalised(call: Call, x: Node, dims: tuple[int, ...], eps: float, affine: tuple[Any, Any], what: str) -> Effect:
    """x / sqrt(mean(x^2) + eps): slope 1/sqrt(eps), or 1/floor where inputs are declared to be at least that long."""
    into = call.space(x)
    for d in dims:
        into = into.with_role(d, "rms")
    if any(role == "sum" for _, role in into.axes):
        into = into.all("max")
        for d in dims:
            into = into.with_role(d, "rms")
    proved = True
    slope = 1 / sqrt(eps) if eps > 0 else inf
    why = f"1/sqrt(eps) = {slope:.6g}"
    if call.floor is not None and 1 / call.floor < slope:
        slope, proved, why = (
            1 / call.floor,
            False,
            f"inputs are taken to have a root mean square of at least {call.floor:g}",
        )
    size = call.length(x, into)
    cap = size / sqrt(size * size + eps) if 0 < size < inf else min(size, 1.0)
    gain, shift, uses = _affine(call, *affine, size=cap)
    return call.lipschitz(
        x,
        times(slope, gain),
        into=into,
        at_zero=shift,
        cap=times(cap, gain) + shift,
        reason=f"{what}: {why}" + (f", gains at most {gain:.6g}" if affine[0] is not None else ""),
        uses=uses,
        proved=proved,
        capped=True,
        cure=_CURE
        if proved and slope > 10
        else ""
        if proved
        else f"proved only with the floor; otherwise {1 / sqrt(eps) if eps else inf:.4g}",
    )


def _affine(
    call: Call, gain: Any, bias: Any, *, size: float, blocks: int = 1
) -> tuple[float, float, tuple[tuple[Node, Use], ...]]:
    """The largest gain, the bias's length, and their uses.

    Args:
        gain, bias: nodes, if any.
        size: of what the gains multiply, at most.
        blocks: equal parts of the bias whose lengths are taken apart.
    """
    factor, shift, uses = 1.0, 0.0, []
    if isinstance(gain, Node):
        if call.kind(gain) == "weight":
            parameter, _ = call.graph.weight(gain)
            factor = call.believe(call.weights.entry(parameter))
            uses.append((parameter, Use("gain", input_bound=size)))
        elif call.active(gain):
            factor = call.bound(gain, call.space(gain).all("max"))
        else:
            factor = float(call.graph.value(gain).abs().max())
    if isinstance(bias, Node):
        if call.kind(bias) == "weight":
            parameter, _ = call.graph.weight(bias)
            shift = call.shift(call.weights.size(parameter, blocks))
            uses.append((parameter, Use("vector", factor=sqrt(blocks))))
        elif call.active(bias):
            shift = call.length(bias, call.space(bias).all("max"))
        else:
            shift = float(call.graph.value(bias).abs().max())
    return factor, shift, tuple(uses)


def _last(x: Node, shape: Any) -> tuple[int, ...]:
    return tuple(range(len(x.shape) - len(shape), len(x.shape)))


@rule("layer_norm")
def layer_norm(call: Call) -> Effect:
    x, shape = call.node.args[:2]
    affine = (call.arg(2, "weight"), call.arg(3, "bias"))
    return normalised(call, x, _last(x, shape), float(call.arg(4, "eps", 1e-5)), affine, "LayerNorm")


@rule("rms_norm")
def rms_norm(call: Call) -> Effect:
    import torch

    x, shape = call.node.args[:2]
    eps = call.arg(3, "eps")
    eps = torch.finfo(x.dtype).eps if eps is None else float(eps)
    return normalised(call, x, _last(x, shape), eps, (call.arg(2, "weight"), None), "RMSNorm")


@rule("fused.rms_norm")
def own_rms_norm(call: Call) -> Effect:
    return normalised(call, call.node.args[0], call.node.extra["dims"], call.node.extra["eps"], (None, None), "RMSNorm")


@rule("fused.floored_rms_norm")
def floored(call: Call) -> Effect:
    """x / max(c RMS(x), f) is a projection onto a ball of radius f / c, divided by f: slope 1 / f."""
    x, extra = call.node.args[0], call.node.extra
    into = call.space(x)
    if any(role == "sum" for _, role in into.axes):
        into = into.all("max")
    for d in extra["dims"]:
        into = into.with_role(d, "rms")
    floor = extra["floor"]
    slope = 1 / floor if floor > 0 else inf
    cure = _CURE if slope > 10 else ""
    reason = f"x / max(size, {floor:g}), a scaled projection onto a ball"
    return call.lipschitz(x, slope, into=into, cap=1 / extra["scale"], capped=True, reason=reason, cure=cure)


@wants("layer_norm", "rms_norm", "fused.rms_norm", "fused.floored_rms_norm")
def wanted_by_normalisation(graph: Graph, node: Node, wanted: Space | None) -> dict[Node, Space]:
    x = node.args[0]
    dims = node.extra["dims"] if "dims" in node.extra else _last(x, node.args[1])
    space = Space.of(x.shape, "max")
    for d in dims:
        space = space.with_role(d, "rms")
    return {x: space}


@rule("group_norm")
def group_norm(call: Call) -> Effect:
    x, groups = call.node.args[:2]
    c = x.shape[1]
    space = Space.samples(x.shape)
    if groups > 1:
        space = space.with_dim(1, ((groups, "max"), (c // groups, "rms")))
    eps = float(call.arg(4, "eps", 1e-5))
    gain, shift, uses = _affine(call, call.arg(2, "weight"), call.arg(3, "bias"), size=1.0, blocks=groups)
    slope, proved = (1 / sqrt(eps) if eps else inf), True
    if call.floor is not None and 1 / call.floor < slope:
        slope, proved = 1 / call.floor, False
    # a mean over a group bounds no single pixel: sizes go by all of it
    return call.lipschitz(
        x,
        times(slope, gain),
        into=space,
        at_zero=shift,
        cap=gain + shift,
        uses=uses,
        proved=proved,
        capped=True,
        reason=f"GroupNorm: {'1/sqrt(eps)' if proved else 'declared floor'}",
        cure=_CURE if proved else "",
    )


@rule("batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "native_batch_norm")
def batch_norm(call: Call) -> Effect:
    """In evaluation an affine map with the running statistics."""
    x, gain, bias, mean, var = call.node.args[:5]
    without_training = call.node.op == "aten._native_batch_norm_legit_no_training"
    eps = float(call.node.args[6 if without_training else 7])
    training = not without_training and call.node.args[5]
    if training or not all(isinstance(s, Node) and call.kind(s) == "constant" for s in (mean, var)):
        from modular_manifolds.modular.ops.elementwise import unknown_product

        return unknown_product(call, "a BatchNorm without running statistics")
    scale = (call.graph.value(var).double() + eps).rsqrt()
    slope = float(scale.max())
    centre = float((call.graph.value(mean).double().abs() * scale).max())
    space = call.space(x)
    size = times(slope, call.length(x, space)) + centre
    blocks = 1 if space.role(1) == "rms" else x.shape[1]
    factor, shift, uses = _affine(call, gain, bias, size=size, blocks=blocks)
    return call.lipschitz(
        x,
        times(slope, factor),
        at_zero=times(centre, factor) + shift,
        uses=uses,
        proved=call.weights.measured,
        reason=f"BatchNorm with its running statistics: at most {slope:.6g} times gains of {factor:.6g}",
        cure="" if call.weights.measured else "running statistics move in training",
    )

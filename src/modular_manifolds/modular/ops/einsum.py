"""Einstein sums of two tensors: a weight and an activation, or the two products of attention."""

from math import inf, prod
from typing import Any

from modular_manifolds.modular.graph import Graph, Node
from modular_manifolds.modular.ops.attention import is_simplex
from modular_manifolds.modular.ops.elementwise import unknown_product
from modular_manifolds.modular.ops.linear import matrix_product, rows_of
from modular_manifolds.modular.rule import Call, Effect, Slope, rule, times, wants
from modular_manifolds.modular.space import Space


def _read(node: Node) -> tuple[str, str, str] | None:
    """The letters of both operands and of the result; None for anything else."""
    equation: Any = node.args[0]
    operands = node.args[1]
    left, arrow, out = equation.replace(" ", "").partition("->")
    letters = left.split(",")
    plain = all(len(set(word)) == len(word) and word.isalpha() for word in (*letters, out))
    if not arrow or len(operands) != 2 or not plain:
        return None
    return letters[0], letters[1], out


def _along(x: Node, letters: str, chosen: set[str], role: Any) -> Space:
    """All maxima, but for some letters."""
    space = Space.of(x.shape, "max")
    for d, letter in enumerate(letters):
        if letter in chosen:
            space = space.with_role(d, role)
    return space


@rule("einsum")
def einsum(call: Call) -> Effect:
    read = _read(call.node)
    if read is None:
        return unknown_product(call, f"einsum {call.node.args[0]!r}")
    (a, b, out), (x, y) = read, call.node.args[1]
    if not call.active(x):
        (a, b), (x, y) = (b, a), (y, x)
    if call.active(y):
        return _activations(call, x, y, a, b, out)
    if len(b) == 2 and a[-1] in b and out[:-1] == a[:-1] and out[-1] in b and out[-1] not in a:
        return matrix_product(call, x, y, None, transposed=b[0] == a[-1])
    if call.kind(y) == "constant":
        return _activations(call, x, y, a, b, out)
    return unknown_product(call, f"einsum {call.node.args[0]!r} with a weight, unless it is x W^T along the last axis")


def _activations(call: Call, x: Node, y: Node, a: str, b: str, out: str) -> Effect:
    summed = (set(a) & set(b)) - set(out)
    if (set(a) ^ set(b)) - set(out):
        return unknown_product(call, f"einsum {call.node.args[0]!r}, which sums an axis of one operand")
    if is_simplex(x) and summed == {a[-1]}:
        # weighted means of the vectors along the last axis of y
        rest = {out[-1]} if out[-1] in b and out[-1] not in a else set()
        into_x, into_y = _along(x, a, summed, "sum"), _along(y, b, rest, "rms")
        result, count = _along(call.node, out, rest, "rms"), 1
    else:
        into_x, into_y = _along(x, a, summed, "rms"), _along(y, b, summed, "rms")
        result = Space.of(call.node.shape, "max")
        count = prod(x.shape[a.index(letter)] for letter in summed)
    first, second = call.bound(x, into_x), call.bound(y, into_y)
    finite = max(first, second) < inf
    slopes = (Slope(x, times(count, second), into_x), Slope(y, times(count, first), into_y))
    reason = f"products of lengths at most {first:.4g} and {second:.4g}, summed over {count}"
    cure = "" if finite else "bound both factors: state a domain, or normalise them"
    return Effect(result, times(count, times(first, second)), slopes, reason=reason, cure=cure)


@wants("einsum")
def wanted_by_einsum(graph: Graph, node: Node, wanted: Space | None) -> dict[Node, Space]:
    read = _read(node)
    if read is None:
        return {}
    (a, b, out), (x, y) = read, node.args[1]
    if graph.kind[x] != "active" or graph.kind[y] != "active":
        x = x if graph.kind[x] == "active" else y
        return {x: rows_of(x)} if graph.kind[x] == "active" else {}
    summed = (set(a) & set(b)) - set(out)
    if is_simplex(x):
        return {y: _along(y, b, {out[-1]}, "rms")}
    return {x: _along(x, a, summed, "rms"), y: _along(y, b, summed, "rms")}

"""What parameters are used for, and how the output feels it there."""

from dataclasses import dataclass

import torch

from modular_manifolds.modular.graph import Graph, Node
from modular_manifolds.modular.ops.shapes import ORDERS, PARTS, RESHAPES, SAME
from modular_manifolds.modular.rule import Use, UseKind
from modular_manifolds.modular.sweep import Sweep


class Unit:
    """Weights of gain 1, to see what each is used for."""

    measured = False

    def gain(self, parameter: Node, use: Use) -> tuple[float, bool]:
        return 1.0, True

    def row(self, parameter: Node) -> tuple[float, bool]:
        return 1.0, True

    def size(self, parameter: Node, blocks: int) -> tuple[float, bool]:
        return 0.0, True

    def entry(self, parameter: Node) -> tuple[float, bool]:
        return 1.0, True


@dataclass(frozen=True)
class At:
    """A use of a parameter: where, and the sensitivity of the output there, block by block."""

    node: Node
    use: Use
    blocks: tuple[float, ...]
    pieces: int
    proved: bool


def uses_of(parameter: Node, graph: Graph, swept: Sweep) -> list[At]:
    found = []
    for node in graph.nodes:
        state = swept.states.get(node)
        for other, use in state.effect.uses if state else ():
            if other is parameter:
                parts = pieces(graph, node) if use.kind == "matrix" and use.blocks > 1 else []
                each: tuple[float, ...] = (swept.sensitivity[node],) * use.blocks
                if parts and use.blocks % len(parts) == 0:
                    run = use.blocks // len(parts)
                    each = tuple(swept.sensitivity[part] for part in parts for _ in range(run))
                count = len(parts) if parts and use.blocks % len(parts) == 0 else 1
                found.append(At(node, use, each, count, swept.proved[node]))
    if swept.sensitivity[parameter]:  # it is data, too
        kind: UseKind = "embedding" if len(parameter.shape) > 1 and parameter.shape[-1] > 1 else "vector"
        found.append(At(parameter, Use(kind), (swept.sensitivity[parameter],), 1, swept.proved[parameter]))
    return found


def pieces(graph: Graph, node: Node) -> list[Node]:
    """The parts that a fused output is cut into, in order: [q, k, v] of a fused projection; empty if it is not cut."""
    moved = {f"aten.{op}" for op in (*RESHAPES, *ORDERS, *SAME)}
    kept = {f"aten.{op}" for op in PARTS}
    value = torch.arange(node.shape[-1], dtype=torch.int32).expand(node.shape)
    while True:
        users = graph.users[node]
        if len(users) == 1 and users[0].op in moved:
            (node,) = users
            arguments = [value if isinstance(a, Node) else a for a in node.args]
            value = value if node.op.removeprefix("aten.") in SAME else node.target(*arguments, **node.kwargs)
            continue
        break
    if len(users) < 2 or any(user.op not in kept for user in users):
        return []
    ranges = {}
    for user in users:
        part = user.target(value, *user.args[1:], **user.kwargs)
        low, high = int(part.min()), int(part.max()) + 1
        if part.unique().numel() != high - low:
            return []
        ranges[low] = (user, high)
    end = 0
    ordered = []
    while end in ranges:
        user, end = ranges[end]
        ordered.append(user)
    equal = len({high - low for low, (_, high) in ranges.items()}) == 1
    return ordered if equal and len(ordered) == len(users) and end == int(value.max()) + 1 else []

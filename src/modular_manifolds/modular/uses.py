"""What parameters are used for, and how the output feels it there."""

from dataclasses import dataclass

import torch

from modular_manifolds.modular.families import COPIES, ORDERS, PARTS, RESHAPES
from modular_manifolds.modular.graph import Graph, Node
from modular_manifolds.modular.rule import Use, UseKind
from modular_manifolds.modular.sweep import Sweep


class UnitWeights:
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
class FoundUse:
    """A use of a parameter in the graph.

    Args:
        node: where.
        use: as what.
        pieces: sensitivities of the output to the equal pieces that the node's output is cut into, such as query, key
            and value; one if it is not cut.
        proved: whether they are.
    """

    node: Node
    use: Use
    pieces: tuple[float, ...]
    proved: bool

    @property
    def sensitivity(self) -> float:
        """To all pieces, each changed by as much."""
        return sum(self.pieces)


def uses_of(parameter: Node, graph: Graph, swept: Sweep) -> list[FoundUse]:
    """Every use, in the order of the computation."""
    found = []
    for node in graph.nodes:
        state = swept.states.get(node)
        for other, use in state.effect.uses if state else ():
            if other is parameter:
                cut = pieces(graph, node) if use.kind == "matrix" and use.blocks > 1 else []
                parts = cut if cut and use.blocks % len(cut) == 0 else [node]
                felt = tuple(swept.sensitivity[part] for part in parts)
                found.append(FoundUse(node, use, felt, swept.proved[node]))
    if swept.sensitivity[parameter]:  # it is data, too
        kind: UseKind = "embedding" if len(parameter.shape) > 1 and parameter.shape[-1] > 1 else "vector"
        found.append(FoundUse(parameter, Use(kind), (swept.sensitivity[parameter],), swept.proved[parameter]))
    return found


def pieces(graph: Graph, node: Node) -> list[Node]:
    """The parts that a fused output is cut into, in order: [q, k, v] of a fused projection; empty if it is not cut.

    Found by moving the numbers of the features as the graph moves the features.
    """
    feature = torch.arange(node.shape[-1], dtype=torch.int32).expand(node.shape)
    users = graph.users[node]
    while len(users) == 1 and users[0].op in COPIES | RESHAPES | ORDERS:
        (node,) = users
        if node.op not in COPIES:
            feature = node.target(*(feature if isinstance(a, Node) else a for a in node.args), **node.kwargs)
        users = graph.users[node]
    if len(users) < 2 or any(user.op not in PARTS for user in users):
        return []
    ranges = {}
    for user in users:
        part = user.target(feature, *user.args[1:], **user.kwargs)
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
    return ordered if equal and len(ordered) == len(users) and end == int(feature.max()) + 1 else []

"""A parameter's share of a plan, before the masses are added up."""

from dataclasses import dataclass, replace
from math import isfinite

from modular_manifolds.geometry import Geometry
from modular_manifolds.modular.defaults import VECTOR_MASS, is_vector
from modular_manifolds.modular.graph import Graph, Node
from modular_manifolds.modular.space import conversion
from modular_manifolds.modular.sweep import Sweep
from modular_manifolds.modular.uses import At, uses_of
from modular_manifolds.modular.weights import largest_change
from modular_manifolds.norms import (
    PerBlock,
    PerHead,
)


@dataclass(frozen=True)
class Share:
    geometry: Geometry
    mass: float
    sensitivity: float
    input_bound: float
    proved: bool
    uses: tuple[str, ...]


def share_of(parameter: Node, graph: Graph, swept: Sweep, geometry: Geometry, given: bool) -> Share:
    uses = uses_of(parameter, graph, swept)
    mass = float(max((at.pieces for at in uses), default=1))
    if all(is_vector(at.use, parameter.shape) for at in uses):
        mass = VECTOR_MASS
    sensitivity, bound = 0.0, 0.0
    if len(uses) == 1 and len(uses[0].blocks) > 1 and not given:
        geometry, sensitivity = _fused(geometry, uses[0], parameter.shape)
    else:
        for at in uses:
            sensitivity += max(at.blocks, default=0.0) * largest_change(geometry.norm, parameter.shape, at.use)
            if at.pieces > 1:
                sensitivity += (sum(at.blocks) / len(at.blocks) * at.pieces - max(at.blocks)) * largest_change(
                    geometry.norm, parameter.shape, at.use
                )
    for at in uses:
        bound = max(bound, input_bound(at, swept))
    return Share(
        geometry,
        mass,
        sensitivity,
        bound,
        all(at.proved and at.use.kind != "declared" for at in uses),
        tuple(f"{at.use.kind} in {at.node.place}" for at in uses),
    )


def _fused(geometry: Geometry, at: At, shape: tuple[int, ...]) -> tuple[Geometry, float]:
    """Blocks that the output feels differently get steps in inverse proportion, all of one budget."""
    run = len(at.blocks) // at.pieces
    each = at.blocks[::run] if at.pieces > 1 else (max(at.blocks),)
    total = sum(each) * largest_change(geometry.norm, shape, at.use)
    mean = sum(each) / len(each)
    if at.pieces == 1 or max(each) - min(each) <= 1e-9 * mean or min(each) <= 0 or not isfinite(mean):
        return geometry, total
    norm = geometry.norm
    if not isinstance(norm, PerHead):
        return geometry, total
    weights = tuple(s / mean for s in at.blocks)
    return replace(geometry, norm=PerBlock(norm.norms, norm.heads, norm.axis, weights)), total


def input_bound(at: At, swept: Sweep) -> float:
    """How long the inputs are that the parameter acts on."""
    if at.use.kind in ("embedding", "vector"):
        return 1.0
    if at.use.input_bound is not None:
        return at.use.input_bound
    slopes = [s for s in swept.states[at.node].effect.slopes if s.x in swept.states]
    if not slopes:
        return 1.0
    state = swept.states[slopes[0].x]
    return state.effect.bound * conversion(state.effect.space, slopes[0].space)

"""A parameter's share of a plan, before the masses are added up."""

from dataclasses import dataclass, replace
from math import isfinite

from modular_manifolds.geometry import Geometry
from modular_manifolds.modular.defaults import VECTOR_MASS, is_vector
from modular_manifolds.modular.graph import Graph, Node
from modular_manifolds.modular.space import conversion
from modular_manifolds.modular.sweep import Sweep
from modular_manifolds.modular.uses import FoundUse, uses_of
from modular_manifolds.modular.weights import largest_change
from modular_manifolds.norms import PerBlock, PerHead


@dataclass(frozen=True)
class Share:
    """As the fields of a plan's `Entry`, which it becomes with a budget."""

    geometry: Geometry
    mass: float
    sensitivity: float
    input_bound: float
    proved: bool
    uses: tuple[str, ...]


def share_of(parameter: Node, graph: Graph, swept: Sweep, geometry: Geometry, given: bool) -> Share:
    """What a parameter's uses make of it; a geometry that was `given` is left as it is."""
    uses = uses_of(parameter, graph, swept)
    vector = all(is_vector(found.use, parameter.shape) for found in uses)
    return Share(
        _weighted(geometry, uses[0]) if len(uses) == 1 and not given else geometry,
        VECTOR_MASS if vector else float(max(len(found.pieces) for found in uses)),
        sum(found.sensitivity * largest_change(geometry.norm, parameter.shape, found.use) for found in uses),
        max((_input_bound(found, swept) for found in uses), default=0.0),
        all(found.proved and found.use.kind != "declared" for found in uses),
        tuple(f"{found.use.kind} in {found.node.place}" for found in uses),
    )


def _weighted(geometry: Geometry, found: FoundUse) -> Geometry:
    """With a norm by which pieces that the output feels differently step in inverse proportion.

    Weights of mean 1 leave the sum of the sensitivities, and so the budget, as it is.
    """
    pieces, norm = found.pieces, geometry.norm
    mean = sum(pieces) / len(pieces)
    alike = max(pieces) - min(pieces) <= 1e-9 * mean
    if alike or min(pieces) <= 0 or not isfinite(mean) or not isinstance(norm, PerHead):
        return geometry
    run = norm.heads // len(pieces)
    weights = tuple(piece / mean for piece in pieces for _ in range(run))
    return replace(geometry, norm=PerBlock(norm.norms, norm.heads, norm.axis, weights))


def _input_bound(found: FoundUse, swept: Sweep) -> float:
    """How long the inputs are that the parameter acts on."""
    if found.use.kind in ("embedding", "vector"):
        return 1.0
    if found.use.input_bound is not None:
        return found.use.input_bound
    slopes = [s for s in swept.states[found.node].effect.slopes if s.x in swept.states]
    if not slopes:
        return 1.0
    state = swept.states[slopes[0].x]
    return state.effect.bound * conversion(state.effect.space, slopes[0].space)

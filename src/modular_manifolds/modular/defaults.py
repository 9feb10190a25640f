"""Geometries for parameters that the user says nothing of: the modular norm's table."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import permutations
from math import sqrt

from modular_manifolds.geometry import Geometry
from modular_manifolds.manifolds import Euclidean, Oblique, Stiefel
from modular_manifolds.modular.families import COPIES, DROPOUTS, PARTS, REPEATS, RESHAPES
from modular_manifolds.modular.graph import Graph, Node
from modular_manifolds.modular.rule import Use
from modular_manifolds.modular.sweep import Sweep
from modular_manifolds.modular.uses import FoundUse
from modular_manifolds.modular.weights import largest_change
from modular_manifolds.well_normed import GAIN, VECTOR, convolution_geometry, embedding_geometry, linear_geometry

VECTOR_MASS = 0.1
"""Mass of a bias or a gain beside 1 of a matrix: they are few numbers, and free."""


def choose(parameter: Node, uses: list[FoundUse], swept: Sweep) -> Geometry:
    """The default geometry: of several uses, that whose norm the uses together are least sensitive to."""
    candidates = dict.fromkeys(default_geometry(found.use, parameter.shape) for found in uses)
    if not candidates:
        return default_geometry(Use("declared"), parameter.shape)

    def felt(geometry: Geometry) -> float:
        changes = (largest_change(geometry.norm, parameter.shape, found.use) for found in uses)
        return sum(found.sensitivity * change for found, change in zip(uses, changes, strict=True))

    return min(candidates, key=felt)


def default_geometry(use: Use, shape: tuple[int, ...]) -> Geometry:
    """The table of the modular norm: what suits a parameter that is used so."""
    if use.kind == "gain":
        return GAIN
    if is_vector(use, shape):
        return VECTOR
    if use.kind == "embedding":
        return embedding_geometry(shape[-1])
    if use.kind == "convolution":
        geometry = convolution_geometry(shape[0], shape[1], use.kernel, use.groups)
        numbers = shape[0] == use.groups and shape[1] == 1
    else:
        out, into = shape[-2:][::-1] if use.transposed else shape[-2:]
        geometry = linear_geometry(out, into, use.blocks, transposed=use.transposed)
        numbers = out == use.blocks and into == 1
    # a single number on a Stiefel manifold could only change its sign
    return replace(geometry, manifold=Euclidean()) if numbers else geometry


def is_vector(use: Use, shape: tuple[int, ...]) -> bool:
    """Whether a parameter is a bias, or a gain: one number for each feature, in whatever shape."""
    return len(shape) < 2 or use.kind in ("vector", "gain") or (use.kind == "embedding" and shape[-1] == 1)


def tables_like_others(graph: Graph, chosen: Mapping[str, Geometry]) -> dict[str, Geometry]:
    """Geometries of tables that are added to a table with another geometry: rows as long as the other's are on average.

    Positions added to tokens whose table is tied to the output, and therefore on another manifold, would drown them.
    """
    matched = {}
    for node in graph.nodes:
        if node.op != "aten.add":
            continue
        tables = [table for table in map(partial(_table, graph), node.inputs) if table is not None]
        for mine, other in permutations(tables, 2):
            ours, theirs = chosen[mine.name], chosen[other.name].manifold
            if isinstance(ours.manifold, Oblique) and isinstance(theirs, Stiefel):
                m, n = other.shape[-2:]
                matched[mine.name] = replace(ours, manifold=Oblique("rows", theirs.radius * sqrt(min(m, n) / m)))
    return matched


def _table(graph: Graph, node: Node) -> Node | None:
    """The parameter whose rows a node is made of, if it is that of an embedding."""
    while node.op in RESHAPES | PARTS | COPIES | REPEATS | DROPOUTS:
        node = node.args[0]
    if node.op == "aten.embedding" and graph.kind[node.args[0]] == "weight":
        return graph.weight(node.args[0])[0]
    return node if node.op == "parameter" and len(node.shape) > 1 else None

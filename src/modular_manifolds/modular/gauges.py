"""The gauge groups of a network: from its graph and the geometries of its parameters."""

from collections.abc import Mapping

from modular_manifolds.geometry import Geometry
from modular_manifolds.modular.gauge import Gauge, Group, Side, described, indices_of
from modular_manifolds.modular.gauge_features import Frame, Mark
from modular_manifolds.modular.gauge_kept import Allowed, allowed
from modular_manifolds.modular.gauge_rules import Walk
from modular_manifolds.modular.graph import Graph


def gauges_of(
    graph: Graph, geometries: Mapping[str, Geometry], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[tuple[Gauge, ...], dict[str, str]]:
    """What was found, and what of it acts on every parameter, in words: see `Plan.gauges` and `Entry.gauge`."""
    walk = Walk(graph)
    found: list[Gauge] = []
    unread: dict[str, set[int]] = {name: set(range(min(len(shapes[name]), 2))) for name in walk.unknown}
    for frame in walk.features.frames():
        axes = [member.axis for role in frame.units[0] for member in role]
        stuck = any(mark & Mark.UNKNOWN for mark in frame.marks) or any(name in walk.unknown for name, _ in axes)
        if stuck:
            for name, axis in axes:
                unread.setdefault(name, set()).add(axis)
        elif not any(mark & Mark.FIXED for mark in frame.marks):
            gauge = _gauge(frame, geometries, shapes)
            if not gauge.function.trivial:
                found.append(gauge)
    by_parameter: dict[str, list[Gauge]] = {}
    for gauge in found:
        for name in dict.fromkeys(side.parameter for side in gauge.sides):
            by_parameter.setdefault(name, []).append(gauge)
    texts = {
        name: described(name, len(shape), by_parameter.get(name, ()), sorted(unread.get(name, ())))
        for name, shape in shapes.items()
    }
    return tuple(found), texts


def _gauge(frame: Frame, geometries: Mapping[str, Geometry], shapes: Mapping[str, tuple[int, ...]]) -> Gauge:
    n, sides = len(frame.units), []
    for role, members in enumerate(frame.units[0]):
        for place, member in enumerate(members):
            indices = indices_of([unit[role][place].index for unit in frame.units])
            sides.append(Side(*member.axis, indices, member.dual, role))
    roles = range(len(frame.marks))
    linear = len(roles) == 1 and not frame.marks[0] & Mark.POINTWISE
    signs = tuple(role for role in roles if not frame.marks[role] & Mark.NO_SIGN)
    scalings = tuple(role for role in roles if not frame.marks[role] & Mark.NO_SCALE)
    by_side = {
        side: allowed(geometries[side.parameter], shapes[side.parameter], side.axis, side.indices) for side in sides
    }
    everywhere = Allowed.ALL
    for one in by_side.values():
        everywhere &= one

    def free(flag: Allowed, among: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(r for r in among if all(flag in kept for side, kept in by_side.items() if side.role == r))

    kept_signs, kept_scalings = free(Allowed.SIGN, signs), free(Allowed.SCALE, scalings)
    if linear and Allowed.ROTATE in everywhere:
        kept = Group(n, "O")
    else:
        kept = Group(n, "", Allowed.PERMUTE in everywhere, len(kept_signs), len(kept_scalings))
    function = Group(n, "GL" if scalings else "O") if linear else Group(n, "", True, len(signs), len(scalings))
    return Gauge(function, kept, tuple(sides), (signs, kept_signs), (scalings, kept_scalings))

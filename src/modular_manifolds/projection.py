"""Putting weights on their manifolds, and seeing that they are there."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from modular_manifolds.distributed import Item, added_up, at_owners, replace_at_owners, spread_of
from modular_manifolds.linalg import check_finite, working_dtype
from modular_manifolds.manifolds import Manifold, Stiefel

NamedParameter = tuple[str, Tensor]


@torch.no_grad()
def project_(target: Any, manifold: Manifold | None = None) -> None:
    """Replace weights, in place, by the nearest points of their manifolds.

    Args:
        target: an optimizer or a list of its parameter groups, each of whose parameters goes to the manifold of its
            group's `geometry` or `manifold` (groups with geometry None are left alone); or a module, a parameter, or
            a list of parameters, bare or as (name, parameter), all of which go to `manifold`.
        manifold: for targets that have no geometry of their own; default Stiefel(), as for ManifoldMuon.

    Raises:
        TypeError: a parameter is not a real floating-point tensor; the target is an iterator, which can be read only
            once; or `manifold` is given beside groups that bring their own.
        RankError: a rank did not take part, where parameters are sharded (a collective call then).
        ValueError: a group has no geometry, or a parameter has a NaN, an Inf, or fewer than two axes and no group that
            says where it belongs. Nothing has been changed then.
    """
    work = list(assignments(target, manifold))
    for (_, p), _, _ in work:
        working_dtype(p.dtype)
    spreads = {p: spread for (name, p), _, _ in work if (spread := spread_of(name, p)) is not None}
    sharded = [Item(name, p, spreads[p]) for (name, p), _, _ in work if p in spreads]
    for item, bad in zip(sharded, added_up(sharded, lambda part: (~part.isfinite()).sum()), strict=True):
        if bad:
            raise ValueError(f"{item.name} of shape {tuple(item.tensor.shape)} has {bad:.0f} non-finite entries")
    for (name, p), _, _ in work:
        if p not in spreads:
            check_finite(p, name)
    for (_, p), where, kernel_axes in work:
        if p not in spreads:
            p.copy_(_projected(where, kernel_axes, p))
    # of one manifold together, so that they take few collectives
    for where, kernel_axes in dict.fromkeys((where, kernel_axes) for _, where, kernel_axes in work):
        here = {p for (_, p), *place in work if place == [where, kernel_axes]}
        replace_at_owners([item for item in sharded if item.tensor in here], partial(_projected, where, kernel_axes))


def _projected(manifold: Manifold, kernel_axes: int, whole: Tensor) -> Tensor:
    """The nearest point of the manifold, in the shape of the parameter."""
    projected = whole.clone()
    matrix = as_matrix(projected, kernel_axes)
    matrix.copy_(manifold.project(matrix))
    return projected


def assignments(target: Any, manifold: Manifold | None) -> Iterator[tuple[NamedParameter, Manifold, int]]:
    """Every constrained parameter of a target as `project_` takes it: where it lives, and how many axes its kernel has.

    Raises:
        TypeError, ValueError: as for `project_`.
    """
    if isinstance(target, torch.optim.Optimizer):
        target = target.param_groups
    if isinstance(target, Iterator):
        raise TypeError("project_ got an iterator, which would be used up; pass a list, or the module itself")
    groups = [target] if isinstance(target, dict) else target
    if isinstance(groups, list | tuple) and groups and all(isinstance(g, dict) for g in groups):
        if manifold is not None:
            raise TypeError("these groups bring their own geometry; leave out `manifold`")
        for i, group in enumerate(groups):
            if "geometry" not in group and "manifold" not in group:
                raise ValueError(
                    f"parameter group {i} has no 'geometry' (a Geometry, or None to leave it alone) and no 'manifold'"
                )
            if isinstance(group["params"], Iterator):
                raise TypeError(f"the params of group {i} are an iterator, which would be used up; make them a list")
            where = manifold_of(group)
            if where is not None:
                for item in named_parameters(group, f"group {i}"):
                    yield item, where, kernel_axes_of(group)
        return
    params = list(target.named_parameters()) if isinstance(target, nn.Module) else target
    for name, p in named_parameters({"params": params}, "params"):
        if p.ndim < 2:
            raise ValueError(
                f"{name} has shape {tuple(p.shape)}, not that of a matrix; leave it out, or pass parameter groups "
                "whose 'geometry' or 'manifold' says where each parameter belongs"
            )
        yield (name, p), manifold or Stiefel(), 0


def manifold_of(group: dict[str, Any]) -> Manifold | None:
    """Where the parameters of a group live: on that of its 'geometry', None if that is None; or on its 'manifold'."""
    if "geometry" not in group:
        return group["manifold"]
    return None if group["geometry"] is None else group["geometry"].manifold


def kernel_axes_of(group: dict[str, Any]) -> int:
    """How many trailing axes of the group's parameters index the taps of a convolution."""
    geometry = group.get("geometry")
    return getattr(geometry, "kernel_axes", 0)


def named_parameters(group: dict[str, Any], prefix: str) -> list[NamedParameter]:
    """A group's parameters with the names they came with, or else with their place in the group."""
    params: Any = group["params"]
    params = [params] if isinstance(params, Tensor) else list(params)
    names: Iterable[str] = group.get("param_names") or [f"{prefix}[{i}]" for i in range(len(params))]
    return [p if isinstance(p, tuple) else (name, p) for name, p in zip(names, params, strict=True)]


def check_on_manifold(params: list[NamedParameter], manifold: Manifold, kernel_axes: int = 0) -> None:
    """Raise ValueError naming the first parameter that is off the manifold. Reads the host once.

    The tolerance is 1e-4, plus what rounding to the parameter's own dtype costs.
    """
    params = [(name, p) for name, p in params if p.numel()]

    def violation(whole: Tensor) -> Tensor:
        return manifold.violation(as_matrix(whole.detach(), kernel_axes)).amax().double()

    sharded = [Item(name, p, spread) for name, p in params if (spread := spread_of(name, p)) is not None]
    params = [(name, p) for name, p in params if not isinstance(p, DTensor)]
    worst = [*read_together([violation(p) for _, p in params]), *at_owners(sharded, violation)]
    params += [(item.name, item.tensor) for item in sharded]
    for (name, p), off in zip(params, worst, strict=True):
        tolerance = 1e-4 + 4 * torch.finfo(p.dtype).eps
        if not off <= tolerance:
            raise ValueError(
                f"{name} of shape {tuple(p.shape)} is off its manifold {manifold}: violation {off:.3g}, tolerance "
                f"{tolerance:.1g}. Put it there first with modular_manifolds.project_(model), or project_(groups) "
                "where groups differ in geometry"
            )


def read_together(scalars: list[Tensor]) -> list[Any]:
    """The values of some scalars, at the price of one host synchronisation for each device they are on."""
    values: dict[int, Any] = {}
    for device in {s.device for s in scalars}:
        places = [i for i, s in enumerate(scalars) if s.device == device]
        values |= dict(zip(places, torch.stack([scalars[i] for i in places]).tolist(), strict=True))
    return [values[i] for i in range(len(scalars))]


def as_matrix(p: Tensor, kernel_axes: int = 0) -> Tensor:
    """A vector as a 1 x d matrix, a scalar as 1 x 1, anything else as it is; all as views.

    With kernel axes, a convolution's weight (out, in, *kernel) as the batch (*kernel, out, in) of its taps.
    """
    if kernel_axes:
        return p.movedim((-2 - kernel_axes, -1 - kernel_axes), (-2, -1))
    return p if p.ndim >= 2 else p.reshape(1, -1)


def as_parameter(matrix: Tensor, kernel_axes: int = 0) -> Tensor:
    """Inverse of `as_matrix` for convolutions; other matrices as they are."""
    return matrix.movedim((-2, -1), (-2 - kernel_axes, -1 - kernel_axes)) if kernel_axes else matrix

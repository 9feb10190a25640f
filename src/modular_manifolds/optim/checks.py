"""What an optimizer's groups, settings, parameters and gradients must be."""

from math import isfinite
from typing import Any

import torch
from torch import Tensor

from modular_manifolds.manifolds import Euclidean, Manifold
from modular_manifolds.projection import NamedParameter, manifold_of, read_together


def checked_group(param_group: Any) -> dict[str, Any]:
    """A copy of a parameter group, its parameters read out of an iterator.

    Raises:
        TypeError: it is no dict.
    """
    if not isinstance(param_group, dict):
        raise TypeError(f"a parameter group must be a dict, got {type(param_group).__name__}")
    params = param_group["params"]
    # a tensor and a set are torch's to handle
    return {**param_group, "params": params if isinstance(params, Tensor | set) else list(params)}


def check_settings(group: dict[str, Any]) -> None:
    """Raise ValueError for a setting out of range, of those that all groups have."""
    lr = group["lr"]
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"a tensor lr must have one element, got shape {tuple(lr.shape)}")
    # an lr on an accelerator is not read: that would make every step wait for it
    if not (isinstance(lr, Tensor) and lr.device.type != "cpu") and not 0 <= float(lr) < float("inf"):
        raise ValueError(f"lr must be finite and not negative, got {float(lr)}")
    if not 0 <= group["weight_decay"] < float("inf"):
        raise ValueError(f"weight_decay must be finite and not negative, got {group['weight_decay']}")
    if group["nonfinite"] not in ("raise", "skip"):
        raise ValueError(f"nonfinite must be 'raise' or 'skip', got {group['nonfinite']!r}")
    manifold = manifold_of(group)
    if group["weight_decay"] and manifold is not None and not isinstance(manifold, Euclidean):
        raise ValueError(
            f"weight decay on {manifold}: the manifold already fixes the size of the weights, and the step "
            "back onto it would undo the decay; set weight_decay=0 in this group"
        )


def check_fraction(group: dict[str, Any], name: str) -> None:
    """Raise ValueError unless the setting lies in [0, 1)."""
    if not 0 <= group[name] < 1:
        raise ValueError(f"{name} must lie in [0, 1), got {group[name]}")


def check_adam(group: dict[str, Any]) -> None:
    """Raise ValueError unless `betas` and `eps` are those of an Adam."""
    if len(group["betas"]) != 2 or not all(0 <= beta < 1 for beta in group["betas"]):
        raise ValueError(f"betas must be two numbers in [0, 1), got {group['betas']}")
    if not group["eps"] >= 0:
        raise ValueError(f"eps must not be negative, got {group['eps']}")


def check_velocity(manifold: Manifold) -> None:
    """Raise ValueError unless tangent vectors of the manifold can be averaged, and carried on by projection."""
    if manifold.conic:
        raise ValueError(
            f"{manifold} has a boundary, where velocities form no space to average in; use ModularOptimizer with "
            "momentum_on='gradient'"
        )


def check_matrices(named: list[NamedParameter], elsewhere: str) -> None:
    """Raise ValueError naming the first parameter with fewer than two axes, and what its own group would be like."""
    for name, p in named:
        if isinstance(p, Tensor) and p.ndim < 2:
            raise ValueError(
                f"{name} has shape {tuple(p.shape)}, not that of a matrix; put it in a group of its own, {elsewhere}"
            )


def with_finite_gradients(nonfinite: str, named: list[NamedParameter]) -> list[NamedParameter]:
    """The parameters whose gradient is finite, from one number each, read together.

    Raises:
        TypeError: a gradient is sparse.
        ValueError: a gradient is not finite, and that is not to be skipped.
    """
    grads = [p.grad for _, p in named if p.grad is not None]
    for (name, _), g in zip(named, grads, strict=True):
        if g.layout != torch.strided:
            raise TypeError(f"the gradient of {name} is sparse ({g.layout}); make it dense, e.g. sparse=False")
    # the extreme entries are NaN or infinite where any is, and many times faster to find than by isfinite
    extremes = [entry for g in grads for entry in torch.aminmax(g if g.numel() else g.new_zeros(1))]
    entries = iter(read_together(extremes))
    finite = [isfinite(lowest) and isfinite(highest) for lowest, highest in zip(entries, entries, strict=True)]
    bad = [name for (name, _), ok in zip(named, finite, strict=True) if not ok]
    if bad and nonfinite == "raise":
        raise ValueError(
            f"the gradient of {', '.join(bad)} has a NaN or an Inf; nothing has been changed. To skip such parameters "
            "pass nonfinite='skip'"
        )
    return [item for item, ok in zip(named, finite, strict=True) if ok]


def check_tensors(named: list[NamedParameter]) -> None:
    seen: dict[Tensor, str] = {}
    for name, p in named:
        if not isinstance(p, Tensor):
            raise TypeError(f"{name} is no tensor but a {type(p).__name__}")
        if p.layout != torch.strided:
            raise TypeError(f"{name} is sparse ({p.layout}); only dense parameters can be stepped")
        if not p.dtype.is_floating_point:
            raise TypeError(f"{name} has dtype {p.dtype}; only real floating-point parameters can be stepped")
        if p in seen:
            raise ValueError(f"{name} occurs twice in its group (first as {seen[p]})")
        seen[p] = name

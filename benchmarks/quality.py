"""How good the direction is in which a method moves its weights, whatever it says of itself."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.methods import Method
from benchmarks.products import ProductDtypes
from benchmarks.workloads import Problem
from modular_manifolds import Geometry, Stiefel

LR = 0.05


class Quality(NamedTuple):
    """The worst over all matrices of a problem.

    Args:
        gap: what the tangent part of the direction, at unit length in the method's norm, lacks to the optimum,
            relative to the optimum.
        tangency: length of what the direction sticks out of the tangent space, over its length.
        violation: largest entry of |W^T W - I| (or W W^T) after one step of length LR.
        products: share of each dtype in the floating-point operations of matrix products.
    """

    gap: float
    tangency: float
    violation: float
    products: dict[str, float]


def assess(method: Method, problem: Problem, lr: float = LR) -> Quality:
    """The quality of the method's first step.

    The direction A is taken from where the weights end. Half the difference between the steps for G and -G,
    lr A + c lr^3 + ..., is free of weight decay and of the second-order part of any retraction; taken at lr and lr / 2
    (Richardson's extrapolation) it is free of the third-order part, too.
    """
    opposite = [-g for g in problem.gradients]
    with ProductDtypes() as products:
        end = _end(method, problem.weights, problem.gradients, lr)
    far = _half_differences(end, _end(method, problem.weights, opposite, lr))
    near = _half_differences(
        _end(method, problem.weights, problem.gradients, lr / 2), _end(method, problem.weights, opposite, lr / 2)
    )
    geometry = Geometry(Stiefel(), method.norm)
    gaps, tangencies = [], []
    each = zip(problem.weights, problem.gradients, problem.bounds(method.norm), far, near, strict=True)
    for w, g, bound, d, half_d in each:
        a = (8 * half_d.double() - d.double()) / (3 * lr)
        tangent = geometry.manifold.to_tangent(w.double(), a)
        value = -(g.double() * tangent).sum((-2, -1)) / geometry.norm(tangent)
        gaps.append(float(((bound - value) / bound).max()))
        off = torch.linalg.matrix_norm(a - tangent) / torch.linalg.matrix_norm(a)
        tangencies.append(float(off.max()))
    violation = max(float(Stiefel().violation(w).max()) for w in end)
    return Quality(max(gaps), max(tangencies), violation, products.shares())


def _half_differences(ends: Sequence[Tensor], opposite_ends: Sequence[Tensor]) -> list[Tensor]:
    return [(plus - minus) / 2 for plus, minus in zip(ends, opposite_ends, strict=True)]


def _end(method: Method, weights: Sequence[Tensor], gradients: Sequence[Tensor], lr: float) -> list[Tensor]:
    stepper = method.start(weights, gradients, lr)
    stepper.step()
    return stepper.weights()

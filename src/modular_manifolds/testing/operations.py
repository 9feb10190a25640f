"""The operations that a subject offers, ready to be called: what conventions are checked on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor

from modular_manifolds.geometry import Geometry
from modular_manifolds.manifolds import Manifold, NoClosedFormError
from modular_manifolds.norms import Norm
from modular_manifolds.testing.case import Case
from modular_manifolds.testing.samples import inner, interior, tangent


@dataclass(frozen=True)
class Operation:
    """A method with arguments for it.

    Args:
        name: of the method.
        call: the method.
        arguments: for it, all of one shape.
        fresh: it promises a new tensor.
        unique: its result is determined, so that two ways to it can be compared.
        vector: the last argument is no point: it may have any length.
        kept: the result has the dtype of the arguments.
        tolerance: for comparisons, relative to the result, where it is not the dtype's and relative to all.
    """

    name: str
    call: Callable[..., Tensor]
    arguments: tuple[Tensor, ...]
    fresh: bool = True
    unique: bool = True
    vector: bool = True
    kept: bool = True
    tolerance: float | None = None

    def __call__(self, *arguments: Tensor) -> Tensor:
        return self.call(*(arguments or self.arguments))


def operations(case: Case[Any]) -> Iterator[tuple[Operation, Tensor]]:
    """Every operation of the case's subject that it has a closed form for, with its result."""
    for operation in offered(case.subject, case):
        try:
            result = operation()
        except (NoClosedFormError, NotImplementedError):
            continue
        yield operation, result


@singledispatch
def offered(subject: Any, case: Case[Any]) -> Iterator[Operation]:
    """Every operation of a subject, which may be another than the case's, with arguments made for the case's."""
    raise TypeError(f"expected a manifold, a norm or a geometry, got {subject!r}")


@offered.register
def _(subject: Manifold, case: Case[Manifold]) -> Iterator[Operation]:
    x = interior(case)
    u, v, g = 0.4 * tangent(case, x), tangent(case, x, 2), case.gaussian(3)
    y = case.subject.retract(x, u)
    yield Operation("project", subject.project, (x + u + 0.1 * v,), vector=False)
    yield Operation("to_tangent", subject.to_tangent, (x, g))
    yield Operation("retract", subject.retract, (x, u))
    yield Operation("violation", subject.violation, (1.5 * x,), vector=False, kept=False)
    yield Operation("whiten", subject.whiten, (x, v), fresh=False)
    yield Operation("unwhiten", subject.unwhiten, (x, v), fresh=False)
    yield Operation("inner", subject.inner, (x, u, v))
    yield Operation("gradient", subject.gradient, (x, g))
    yield Operation("exp", subject.exp, (x, u))
    yield Operation("log", subject.log, (x, y), vector=False)
    yield Operation("distance", subject.distance, (x, y), vector=False)
    yield Operation("transport", subject.transport, (x, u, v))


@offered.register
def _(subject: Norm, case: Case[Norm]) -> Iterator[Operation]:
    g = case.gaussian(0)
    yield Operation("norm", subject.norm, (g,))
    yield Operation("dual", subject.dual, (g,))
    yield Operation("lmo", subject.lmo, (g,))
    yield Operation("to_ball", subject.to_ball, (g,))


@offered.register
def _(subject: Geometry, case: Case[Geometry]) -> Iterator[Operation]:
    w = case.subject.manifold.random(case.shape, generator=torch.Generator().manual_seed(case.seed), dtype=case.dtype)
    g = case.gaussian(1)
    # several directions may be equally good, so that only what they attain is compared
    gap = 2 * case.tolerance.gap
    yield Operation("decrease", lambda w, g: -inner(g, subject.lmo(w, g)), (w, g), kept=False, tolerance=gap)
    yield Operation("lmo", subject.lmo, (w, g), unique=False)
    yield Operation("step", lambda w, g: subject.step(w, g, 0.1), (w, g), unique=False)

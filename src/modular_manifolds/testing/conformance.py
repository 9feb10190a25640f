"""All checks at once, for a manifold, a norm or a geometry."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

import torch

from modular_manifolds.geometry import Geometry
from modular_manifolds.manifolds import Manifold
from modular_manifolds.norms import Norm
from modular_manifolds.testing.check import Check, Checks
from modular_manifolds.testing.conventions import convention_checks
from modular_manifolds.testing.directions import direction_checks
from modular_manifolds.testing.geodesics import geodesic_checks
from modular_manifolds.testing.norm_axioms import axiom_checks
from modular_manifolds.testing.points import point_checks
from modular_manifolds.testing.retractions import retraction_checks
from modular_manifolds.testing.tangents import tangent_checks
from modular_manifolds.testing.tolerances import DTYPES

S = TypeVar("S")

manifold_checks: Checks[Manifold] = Checks(
    point_checks | tangent_checks | retraction_checks | geodesic_checks | convention_checks
)
"""What every manifold promises, by name."""

norm_checks: Checks[Norm] = Checks(axiom_checks | convention_checks)
"""What every norm promises, by name."""

pair_checks: Checks[Geometry] = Checks(direction_checks | convention_checks)
"""What every geometry promises, by name."""


class ConformanceError(AssertionError):
    """Promises that are broken. `failures` has the message of each by the name of its check."""

    def __init__(self, subject: object, failures: Mapping[str, str], total: int) -> None:
        self.failures = dict(failures)
        lines = "\n".join(f"- {message}" for message in failures.values())
        super().__init__(f"{subject} fails {len(failures)} of {total} checks:\n{lines}")


def check_manifold(
    manifold: Manifold,
    shapes: Iterable[tuple[int, ...]] | None = None,
    dtypes: Iterable[torch.dtype] = DTYPES,
    *,
    examples: int = 10,
    skip: Collection[str] = (),
    mirror: Manifold | None = None,
) -> None:
    """Run all of `manifold_checks`.

    Args:
        manifold: what to check.
        shapes: to be tried; by default small ones of every kind for which `manifold.dimension` raises no ValueError.
        dtypes: to be tried, of those that TOLERANCES has a row for.
        examples: how many cases Hypothesis draws for each check, beside those at the corners.
        skip: names of promises that the manifold does not make.
        mirror: the manifold of the transposed matrices; by default what `mirrored` finds, mostly itself.

    Raises:
        ConformanceError: it lists every check that fails, with the numbers measured.
        ValueError: there is no check of a name in `skip`, or no default shape is one of the manifold's.
    """
    _run_all(manifold_checks, manifold, shapes, dtypes, examples, skip, mirror=mirror)


def check_norm(
    norm: Norm,
    shapes: Iterable[tuple[int, ...]] | None = None,
    dtypes: Iterable[torch.dtype] = DTYPES,
    *,
    examples: int = 10,
    skip: Collection[str] = (),
    mirror: Norm | None = None,
) -> None:
    """Run all of `norm_checks`. Arguments and errors as of `check_manifold`."""
    _run_all(norm_checks, norm, shapes, dtypes, examples, skip, mirror=mirror)


def check_geometry(
    geometry: Geometry,
    shapes: Iterable[tuple[int, ...]] | None = None,
    dtypes: Iterable[torch.dtype] = DTYPES,
    *,
    examples: int = 10,
    skip: Collection[str] = (),
    mirror: Geometry | None = None,
    gap: float | None = None,
) -> None:
    """Run all of `pair_checks`. Arguments and errors as of `check_manifold`, and one more:

    Args:
        gap: relative gap that its directions promise, where it is more than rounding: 1e-3 for those by iteration.
    """
    _run_all(pair_checks, geometry, shapes, dtypes, examples, skip, mirror=mirror, gap=gap)


def _run_all(
    checks: Mapping[str, Check[S]],
    subject: S,
    shapes: Iterable[tuple[int, ...]] | None,
    dtypes: Iterable[torch.dtype],
    examples: int,
    skip: Collection[str],
    **details: Any,
) -> None:
    unknown = set(skip) - set(checks)
    if unknown:
        raise ValueError(f"there is no check called {', '.join(sorted(unknown))}; known are {', '.join(checks)}")
    shapes, dtypes = None if shapes is None else tuple(shapes), tuple(dtypes)
    failures: dict[str, str] = {}
    for name, check in checks.items():
        if name not in skip:
            try:
                check.run(subject, shapes, dtypes, examples=examples, **details)
            except AssertionError as error:
                failures[name] = str(error)
    if failures:
        raise ConformanceError(subject, failures, len(checks) - len(skip))

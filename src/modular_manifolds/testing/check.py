"""A check: a promise with a name, that can be tried on one case, or on all that matter."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from hypothesis import HealthCheck, Phase, given, settings

from modular_manifolds.manifolds import NoClosedFormError
from modular_manifolds.testing.case import Case
from modular_manifolds.testing.shapes import corner_shapes, has_shape
from modular_manifolds.testing.strategies import cases
from modular_manifolds.testing.tolerances import DTYPES

S = TypeVar("S")


@dataclass(frozen=True)
class Check(Generic[S]):
    """One promise of a manifold, a norm or a geometry. Prints as its name.

    Args:
        name: what is promised.
        body: raises AssertionError where it is broken.
        exact: it takes derivatives by differences or solves a problem of its own, which only float64 allows.
        optional: it is about what has a closed form only on some; NoClosedFormError then counts as "not claimed".
        varied: it depends on the spectrum and scale of a matrix.
        once: it does not depend on the shape.
        effort: how many cases it is worth, relative to others.
    """

    name: str
    body: Callable[[Case[S]], None]
    exact: bool = False
    optional: bool = False
    varied: bool = False
    once: bool = False
    effort: float = 1.0

    def __str__(self) -> str:
        return self.name

    def __call__(
        self,
        subject: S,
        shape: Iterable[int] = (5, 3),
        dtype: torch.dtype = torch.float64,
        seed: int = 0,
        **details: Any,
    ) -> None:
        """Try one case. `details` are the other fields of `Case`.

        Raises:
            AssertionError: the promise is broken; the message says which, for what, and by how much.
            ValueError: the subject has no such shape.
        """
        if not has_shape(subject, tuple(shape)):
            raise ValueError(f"{subject} has no matrices of shape {tuple(shape)}")
        case = Case(self.name, subject, tuple(shape), torch.float64 if self.exact else dtype, seed, **details)
        try:
            self.body(case)
        except AssertionError:
            raise
        except NoClosedFormError:
            if not self.optional:
                raise
        except Exception as error:
            raise AssertionError(f"{case}: {type(error).__name__}: {error}") from error

    def run(
        self,
        subject: S,
        shapes: Iterable[tuple[int, ...]] | None = None,
        dtypes: Iterable[torch.dtype] = DTYPES,
        *,
        examples: int = 10,
        **details: Any,
    ) -> None:
        """Try the shapes at the corners, and what Hypothesis draws: always the same cases for the same arguments.

        Args:
            subject: what to check.
            shapes: to be drawn from; by default small ones of every kind that the subject has.
            dtypes: to be drawn from.
            examples: how many cases to draw.
            details: other fields of `Case`.

        Raises:
            AssertionError: as for a single case. Among several, it is a simple one.
            ValueError: none of the default shapes is one of the subject's.
        """
        shapes = None if shapes is None else tuple(shapes)
        dtypes = (torch.float64,) if self.exact else tuple(dtypes)
        corners = shapes or corner_shapes(subject)
        if self.once:
            for dtype in dtypes:
                self(subject, corners[0], dtype, **details)
            return
        for shape in corners:
            self(subject, shape, dtypes[0], **details)

        @settings(
            max_examples=max(1, round(self.effort * examples)),
            derandomize=True,
            deadline=None,
            database=None,
            print_blob=False,
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(cases(subject, dtypes, shapes, varied=self.varied))
        def search(drawn: dict[str, Any]) -> None:
            self(subject, **drawn, **details)

        search()


class Checks(dict[str, Check[S]]):
    """Checks by name, in the order in which they are to be read."""

    def add(
        self,
        *,
        exact: bool = False,
        optional: bool = False,
        varied: bool = False,
        once: bool = False,
        effort: float = 1.0,
    ) -> Callable[[Callable[[Case[S]], None]], Check[S]]:
        """Decorator that makes a check of a function, named alike. The arguments are those of `Check`."""

        def enter(body: Callable[[Case[S]], None]) -> Check[S]:
            name = body.__name__
            self[name] = Check(name, body, exact, optional, varied, once, effort)
            return self[name]

        return enter

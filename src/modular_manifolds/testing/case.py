"""What a check is run on, and how it says what it found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.testing.matrices import gaussian, with_spectrum
from modular_manifolds.testing.tolerances import TOLERANCES, Tolerance

S = TypeVar("S")


@dataclass(frozen=True)
class Case(Generic[S]):
    """One subject, and everything that decides on the tensors it is tried on.

    Args:
        check: name of the check.
        subject: a manifold, a norm or a geometry.
        shape: of the tensors.
        dtype: of the tensors.
        seed: of their entries.
        spectrum: kind of matrix to project, to measure, or to take as a gradient.
        scale: factor on that matrix.
        gap: relative gap that a direction may have; the dtype's own by default.
        mirror: what holds the transposed matrices; found by `mirrored` by default.
    """

    check: str
    subject: S
    shape: tuple[int, ...]
    dtype: torch.dtype
    seed: int
    spectrum: str = "gaussian"
    scale: float = 1.0
    gap: float | None = None
    mirror: S | None = None

    def __str__(self) -> str:
        return (
            f"{self.check}: {self.subject}, shape {self.shape}, {str(self.dtype).removeprefix('torch.')}, "
            f"{self.spectrum}, scale {self.scale:g}, seed {self.seed}"
        )

    @property
    def tolerance(self) -> Tolerance:
        """The dtype's row of the table, with this case's own gap if it has one."""
        row = TOLERANCES[self.dtype]
        return row if self.gap is None else row._replace(gap=max(self.gap, row.gap))

    def gaussian(self, number: int, shape: Sequence[int] | None = None) -> Float[Tensor, "*b m n"]:
        """The `number`-th Gaussian matrix of this case."""
        return gaussian(tuple(shape or self.shape), 1000 * self.seed + number).to(self.dtype)

    def matrix(self, number: int = 0) -> Float[Tensor, "*b m n"]:
        """The `number`-th matrix of this case's spectrum and scale."""
        return (with_spectrum(self.spectrum, self.shape, 1000 * self.seed + number) * self.scale).to(self.dtype)

    def at_most(self, what: str, measured: Tensor | float, bound: Tensor | float) -> None:
        """Raise AssertionError unless every number measured is at most its bound (NaN is not)."""
        values = torch.as_tensor(measured, dtype=torch.float64).detach()
        bounds = torch.as_tensor(bound, dtype=torch.float64).detach().expand_as(values)
        if values.numel() and not bool((values <= bounds).all()):
            worst = (values - bounds).nan_to_num(nan=torch.inf).argmax()
            self.fail(f"{what} is {values.flatten()[worst]:.3g}, allowed is {bounds.flatten()[worst]:.3g}")

    def at_least(self, what: str, measured: Tensor | float, bound: float) -> None:
        """Raise AssertionError unless every number measured is at least the bound."""
        values = torch.as_tensor(measured, dtype=torch.float64).detach()
        if values.numel() and not bool((values >= bound).all()):
            self.fail(f"{what} is {values.nan_to_num(nan=-torch.inf).min():.3g}, least allowed is {bound:.3g}")

    def same(self, what: str, x: Tensor, y: Tensor, size: Tensor | float | None = None) -> None:
        """Raise AssertionError unless x and y are equal up to rounding, relative to `size`, by default their own."""
        if x.shape != y.shape:
            self.fail(f"{what}: shape {tuple(x.shape)} instead of {tuple(y.shape)}")
        if x.numel():
            own = max(float(x.detach().double().norm()), float(y.detach().double().norm()))
            scale = torch.as_tensor(own if size is None else size, dtype=torch.float64).max()
            self.at_most(what, (x.double() - y.double()).norm(), self.tolerance.same * scale)

    def holds(self, what: str, truth: bool) -> None:
        """Raise AssertionError, saying `what`, unless it is true."""
        if not truth:
            self.fail(f"not true that {what}")

    def fail(self, message: str) -> None:
        """Raise AssertionError with the case before the message."""
        raise AssertionError(f"{self}: {message}")

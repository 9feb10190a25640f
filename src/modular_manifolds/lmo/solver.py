"""What may stand in for an entry of the table."""

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import Precision
from modular_manifolds.manifolds import Manifold
from modular_manifolds.norms import Norm


class Solver(ABC):
    """An algorithm for the tangent LMO of some pairs. Subclasses are frozen dataclasses that hold its settings."""

    remembers: ClassVar[bool] = False
    """Whether it takes one more argument, `memory`, shaped like w: where to start, overwritten by where it ended."""

    @abstractmethod
    def check_pair(self, manifold: Manifold, norm: Norm) -> None:
        """Raise TypeError if the method does not apply to this manifold or norm. Called once, by Geometry."""

    @abstractmethod
    def __call__(
        self,
        manifold: Manifold,
        norm: Norm,
        w: Float[Tensor, "*b m n"],
        g: Float[Tensor, "*b m n"],
        precision: Precision,
    ) -> Float[Tensor, "*b m n"]:
        """The A that minimises <g, A> over tangent vectors at w with norm(A) <= 1, as nearly as the method can."""

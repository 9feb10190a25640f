"""Steps on a body with a boundary that are taken as if it were not there, and end at the nearest point."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import Precision
from modular_manifolds.lmo.solver import Solver
from modular_manifolds.manifolds import Manifold
from modular_manifolds.norms import Norm


@dataclass(frozen=True)
class ProjectedStep(Solver):
    """The norm's own LMO, for manifolds with a boundary; the retraction, a projection, cuts off what sticks out.

    Inside it is the steepest step. At the boundary it is not: part of it points outwards and is lost, where the exact
    direction would have spent that length on what is left. In return it costs one LMO instead of an inner loop. With
    the spectral norm on `SpectralBall` it is Muon with singular values capped after every step, as in Newhouse et al.
    2025 (arXiv 2507.13338).
    """

    def check_pair(self, manifold: Manifold, norm: Norm) -> None:
        """Raise TypeError unless the manifold has a boundary."""
        if not manifold.conic:
            raise TypeError(
                f"ProjectedStep needs a manifold with a boundary, such as SpectralBall, got {manifold!r}; leave "
                "Geometry's solver at None to use the pair's own"
            )

    def __call__(
        self,
        manifold: Manifold,
        norm: Norm,
        w: Float[Tensor, "*b m n"],
        g: Float[Tensor, "*b m n"],
        precision: Precision = "exact",
    ) -> Float[Tensor, "*b m n"]:
        """norm.lmo(g), wherever w is."""
        return norm.lmo(g, precision)

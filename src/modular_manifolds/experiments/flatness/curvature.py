"""Second derivatives of a loss, in all directions and along manifolds."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from modular_manifolds.geometry import Geometry
from modular_manifolds.manifolds import Euclidean, Manifold, Sphere, Stiefel


class Curvature:
    """The Hessian of the mean cross-entropy of a network, by products with directions.

    Directions are one flat vector of all parameters, in the order of `named_parameters`. The gradient's graph is kept:
    a product costs two passes over the images.
    """

    def __init__(
        self,
        network: nn.Module,
        inputs: Float[Tensor, "images features"],
        labels: Int[Tensor, " images"],
        geometries: Mapping[str, Geometry],
    ) -> None:
        """Geometries are by parameter; parameters without one are free."""
        self._parameters = dict(network.named_parameters())
        self._sizes = [p.numel() for p in self._parameters.values()]
        self.manifolds: dict[str, Manifold] = {
            name: geometries[name].manifold if name in geometries else Euclidean() for name in self._parameters
        }
        loss = functional.cross_entropy(network(inputs), labels)
        self.loss = float(loss.detach())
        self._gradients = torch.autograd.grad(loss, list(self._parameters.values()), create_graph=True)

    def parts(self, flat: Float[Tensor, " n"]) -> list[Tensor]:
        """By parameter, in their shapes."""
        pieces: tuple[Tensor, ...] = flat.split(self._sizes)  # type: ignore[no-untyped-call]
        return [piece.view_as(p) for piece, p in zip(pieces, self._parameters.values(), strict=True)]

    @staticmethod
    def flat(parts: Sequence[Tensor]) -> Float[Tensor, " n"]:
        """The inverse of `parts`."""
        return torch.cat([part.reshape(-1) for part in parts])

    @property
    def weights(self) -> list[Tensor]:
        """The point, by parameter."""
        return [p.detach() for p in self._parameters.values()]

    @property
    def gradient(self) -> Float[Tensor, " n"]:
        """At the point, in all directions."""
        return self.flat([g.detach() for g in self._gradients])

    def random(self, generator: torch.Generator) -> Float[Tensor, " n"]:
        """A normal direction."""
        first = self.weights[0]
        return torch.randn(sum(self._sizes), generator=generator, dtype=torch.float64).to(first.dtype)

    def hessian(self, u: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """H u."""
        products = torch.autograd.grad(
            self._gradients, list(self._parameters.values()), self.parts(u), retain_graph=True
        )
        return self.flat([product.detach() for product in products])

    def to_tangent(self, u: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The part along the manifolds."""
        places = zip(self.manifolds.values(), self.weights, self.parts(u), strict=True)
        return self.flat([manifold.to_tangent(w, part) for manifold, w, part in places])

    def along_manifolds(self, u: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The Riemannian Hessian times a tangent vector, tangent.

        <u, result> is the second derivative of the loss along the geodesic that leaves with velocity u: that of the
        loss on the straight line, and what the geodesic bends, times the gradient (Absil, Mahony & Sepulchre 2008).
        """
        product = self.parts(self.hessian(u))
        gradients = [g.detach() for g in self._gradients]
        places = zip(self.manifolds.values(), self.weights, gradients, self.parts(u), product, strict=True)
        bent = [hu - normal_bend(manifold, w, g, part) for manifold, w, g, part, hu in places]
        return self.to_tangent(self.flat(bent))


def normal_bend(manifold: Manifold, w: Tensor, g: Tensor, u: Tensor) -> Tensor:
    """What the manifold's own curvature takes from H u: a map of u that is linear in the normal part of g.

    On the sphere <w, g> u / radius^2, on Stiefel u sym(w^T g) / radius^2 (for wide matrices on the other side), before
    projection to the tangent space (Absil, Mahony & Trumpf 2013, An extrinsic look at the Riemannian Hessian).

    Raises:
        TypeError: it is not known of this manifold.
    """
    match manifold:
        case Euclidean():
            return torch.zeros_like(u)
        case Sphere(radius=radius):
            return u * ((w * g).sum((-2, -1), keepdim=True) / radius**2)
        case Stiefel(radius=radius):
            if w.shape[-2] < w.shape[-1]:
                return normal_bend(manifold, w.mT, g.mT, u.mT).mT
            inner = w.mT @ g
            return u @ ((inner + inner.mT) / (2 * radius**2))
    raise TypeError(f"the curvature of {manifold} is not known here; there are Euclidean, Sphere and Stiefel")

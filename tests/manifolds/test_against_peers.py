"""The same points given to geoopt's and pymanopt's manifolds: where they mean one map, and which is right elsewhere.

Both are development dependencies, and a test is skipped where its package is missing.
"""

import warnings
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor

from modular_manifolds.manifolds import (
    Grassmann,
    Manifold,
    Oblique,
    Sphere,
    Stiefel,
    SymmetricPositiveDefinite,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")


@pytest.fixture
def geoopt() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("geoopt")


@pytest.fixture
def pymanopt() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pymanopt.manifolds")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def problem(manifold: Manifold, *shape: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """A point x, any matrix g, two tangent vectors u and v at x, and another point y near x."""
    x = manifold.random(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, v, w = (manifold.to_tangent(x, 0.3 * normal(*shape, seed=i)) for i in (1, 2, 3))
    return x, normal(*shape, seed=4), u, v, manifold.retract(x, u + w)


def agree(ours: Tensor, theirs: object) -> bool:
    theirs = torch.as_tensor(theirs, dtype=torch.float64)
    return ours.shape == theirs.shape and bool((ours - theirs).abs().max() <= 1e-10)


def order(error: Callable[[float], Tensor], steps: tuple[float, float] = (1e-2, 1e-3)) -> float:
    """The slope of the error in the length of a step, on logarithmic scales."""
    large, small = (error(t).norm() for t in steps)
    return (torch.log(large / small) / torch.log(torch.tensor(steps[0] / steps[1]))).item()


def test_spheres_of_geoopt(geoopt):
    theirs = geoopt.Sphere()
    for manifold, shape in ((Oblique("rows"), (4, 5)), (Sphere(), (3, 1, 5))):
        x, g, u, v, y = problem(manifold, *shape)
        assert agree(manifold.project(g), theirs.projx(g))
        assert agree(manifold.to_tangent(x, g), theirs.proju(x, g))
        assert agree(manifold.retract(x, u), theirs.retr(x, u))
        assert agree(manifold.exp(x, u), theirs.expmap(x, u))
        assert agree(manifold.log(x, y), theirs.logmap(x, y))
        distances = theirs.dist(x, y)
        assert agree(manifold.distance(x, y), distances.norm(dim=-1) if manifold == Oblique() else distances[:, 0])
        assert agree(manifold.to_tangent(y, v), theirs.transp(x, y, v))


@pytest.mark.parametrize("shape", [(3, 7, 4), (2, 5, 5)], ids=str)
def test_stiefel_of_geoopt_in_the_euclidean_metric(geoopt, shape):
    """In batches: torch.matrix_exp, which geoopt calls, is wrong in the tenth digit for some single matrices."""
    x, g, u, v, y = problem(Stiefel(), *shape)
    theirs = geoopt.EuclideanStiefelExact()
    assert agree(Stiefel().project(g), theirs.projx(g))
    assert agree(Stiefel().to_tangent(x, g), theirs.proju(x, g))
    assert agree(Stiefel().exp(x, u), theirs.expmap(x, u))
    assert agree(Stiefel().exp(x, u), theirs.retr(x, u))
    assert agree(Stiefel().inner(x, u, v), theirs.inner(x, u, v))
    assert agree(Stiefel().to_tangent(y, v), theirs.transp(x, y, v))


def test_positive_definite_matrices_of_geoopt(geoopt):
    manifold, theirs = SymmetricPositiveDefinite(), geoopt.SymmetricPositiveDefinite()
    x, g, u, v, y = problem(manifold, 3, 5, 5)
    assert agree(manifold.to_tangent(x, g), theirs.proju(x, g))
    assert agree(manifold.gradient(x, g), theirs.egrad2rgrad(x, g))
    assert agree(manifold.inner(x, u, v), theirs.inner(x, u, v))
    assert agree(manifold.retract(x, u), theirs.retr(x, u))
    assert agree(manifold.exp(x, u), theirs.expmap(x, u))
    assert agree(manifold.log(x, y), theirs.logmap(x, y))
    assert agree(manifold.distance(x, y), theirs.dist(x, y))
    assert agree(manifold.transport(x, manifold.log(x, y), v), theirs.transp(x, y, v))


def test_sphere_of_pymanopt(pymanopt):
    x, g, u, v, y = problem(Sphere(), 4, 3)
    theirs = pymanopt.Sphere(4, 3)
    assert agree(Sphere().to_tangent(x, g), theirs.projection(x.numpy(), g.numpy()))
    assert agree(Sphere().retract(x, u), theirs.retraction(x.numpy(), u.numpy()))
    assert agree(Sphere().exp(x, u), theirs.exp(x.numpy(), u.numpy()))
    assert agree(Sphere().log(x, y), theirs.log(x.numpy(), y.numpy()))
    assert agree(Sphere().distance(x, y), theirs.dist(x.numpy(), y.numpy()))
    assert agree(Sphere().to_tangent(y, v), theirs.transport(x.numpy(), y.numpy(), v.numpy()))


def test_oblique_of_pymanopt(pymanopt):
    manifold, theirs = Oblique("columns"), pymanopt.Oblique(5, 4)
    x, g, u, v, y = problem(manifold, 5, 4)
    assert agree(manifold.to_tangent(x, g), theirs.projection(x.numpy(), g.numpy()))
    assert agree(manifold.retract(x, u), theirs.retraction(x.numpy(), u.numpy()))
    assert agree(manifold.exp(x, u), theirs.exp(x.numpy(), u.numpy()))
    assert agree(manifold.log(x, y), theirs.log(x.numpy(), y.numpy()))
    assert agree(manifold.distance(x, y), theirs.dist(x.numpy(), y.numpy()))
    assert agree(manifold.to_tangent(y, v), theirs.transport(x.numpy(), y.numpy(), v.numpy()))


@pytest.mark.parametrize("shape", [(7, 4), (5, 5)], ids=str)
def test_stiefel_of_pymanopt_with_its_polar_retraction(pymanopt, shape):
    x, g, u, v, y = problem(Stiefel(), *shape)
    theirs = pymanopt.Stiefel(*shape, retraction="polar")
    assert agree(Stiefel().to_tangent(x, g), theirs.projection(x.numpy(), g.numpy()))
    assert agree(Stiefel().retract(x, u), theirs.retraction(x.numpy(), u.numpy()))
    assert agree(Stiefel().exp(x, u), theirs.exp(x.numpy(), u.numpy()))
    assert agree(Stiefel().to_tangent(y, v), theirs.transport(x.numpy(), y.numpy(), v.numpy()))
    assert Stiefel().dimension(shape) == theirs.dim


def test_rotations_of_pymanopt(pymanopt):
    """Its tangent vectors are the skew factors A of u = x A."""
    x, g, u, v, y = problem(Stiefel(), 5, 5)
    theirs = pymanopt.SpecialOrthogonalGroup(5, retraction="polar")
    factor = (x.mT @ u).numpy()
    assert agree(Stiefel().to_tangent(x, g), x.numpy() @ theirs.projection(x.numpy(), g.numpy()))
    assert agree(Stiefel().retract(x, u), theirs.retraction(x.numpy(), factor))
    assert agree(Stiefel().exp(x, u), theirs.exp(x.numpy(), factor))
    assert agree(Stiefel().log(x, y), x.numpy() @ theirs.log(x.numpy(), y.numpy()))
    assert agree(Stiefel().distance(x, y), theirs.dist(x.numpy(), y.numpy()))
    assert agree(Stiefel().inner(x, u, v), theirs.inner_product(x.numpy(), factor, (x.mT @ v).numpy()))


def test_grassmann_of_pymanopt(pymanopt):
    x, g, u, v, y = problem(Grassmann(), 7, 3)
    theirs = pymanopt.Grassmann(7, 3)
    assert agree(Grassmann().to_tangent(x, g), theirs.projection(x.numpy(), g.numpy()))
    assert agree(Grassmann().retract(x, u), theirs.retraction(x.numpy(), u.numpy()))
    assert agree(Grassmann().log(x, y), theirs.log(x.numpy(), y.numpy()))
    assert agree(Grassmann().distance(x, y), theirs.dist(x.numpy(), y.numpy()))
    assert agree(Grassmann().to_tangent(y, v), theirs.transport(x.numpy(), y.numpy(), v.numpy()))
    assert Grassmann().dimension((7, 3)) == theirs.dim
    assert agree(Grassmann().exp(x, u), theirs.exp(x.numpy(), u.numpy()))


def test_positive_definite_matrices_of_pymanopt(pymanopt):
    manifold, theirs = SymmetricPositiveDefinite(), pymanopt.SymmetricPositiveDefinite(5)
    x, g, u, v, y = problem(manifold, 5, 5)
    assert agree(manifold.to_tangent(x, g), theirs.projection(x.numpy(), g.numpy()))
    assert agree(manifold.gradient(x, g), theirs.euclidean_to_riemannian_gradient(x.numpy(), g.numpy()))
    assert agree(manifold.inner(x, u, v), theirs.inner_product(x.numpy(), u.numpy(), v.numpy()))
    assert agree(manifold.retract(x, u), theirs.retraction(x.numpy(), u.numpy()))
    assert agree(manifold.exp(x, u), theirs.exp(x.numpy(), u.numpy()))
    assert agree(manifold.log(x, y), theirs.log(x.numpy(), y.numpy()))
    assert agree(manifold.distance(x, y), theirs.dist(x.numpy(), y.numpy()))
    assert manifold.dimension((5, 5)) == theirs.dim


def test_the_default_stiefel_of_geoopt_does_not_walk_where_it_is_told(geoopt):
    """R(x, t u) = x + t u + o(t) is what makes a retraction: theirs turns twice as far inside the span of x.

    Ours is right. Its error has slope 3 (2 against the straight line), where theirs has slope 1: it never comes right
    by taking shorter steps. With u = x A, theirs ends at x + 2 t x A. Outside the span both agree.
    """
    theirs = geoopt.Stiefel()
    assert isinstance(theirs, geoopt.CanonicalStiefel)
    x, _, u, _, _ = problem(Stiefel(), 7, 4)
    assert order(lambda t: theirs.retr(x, t * u) - x - t * u) == pytest.approx(1.0, abs=0.02)
    assert order(lambda t: Stiefel().retract(x, t * u) - x - t * u) == pytest.approx(2.0, abs=0.02)
    inside = x @ (x.mT @ u)
    assert order(lambda t: theirs.retr(x, t * u) - x - t * (u + inside)) == pytest.approx(2.0, abs=0.02)
    assert order(lambda t: theirs.retr(x, t * (u - inside)) - x - t * (u - inside)) == pytest.approx(2.0, abs=0.02)


def test_the_default_stiefel_of_geoopt_does_not_project_onto_tangents(geoopt):
    """Its `proju`, g - x g^T x, is the gradient of the canonical metric; on a tangent x A it doubles A each time."""
    theirs = geoopt.Stiefel()
    x, g, u, _, _ = problem(Stiefel(), 7, 4)
    once = theirs.proju(x, g)
    assert agree(Stiefel().to_tangent(x, once), once)  # tangent it is,
    assert (theirs.proju(x, once) - once).norm() > 0.1 * once.norm()  # but no projection,
    assert agree(theirs.proju(x, u), u + x @ (x.mT @ u))
    ours = Stiefel().to_tangent(x, g)
    assert agree(Stiefel().to_tangent(x, ours), ours)
    assert (g - ours).norm() < (g - once).norm()  # nor nearest


def test_retraction_by_qr_is_of_first_order(geoopt, pymanopt):
    """It leaves the geodesic at t^2, the polar factor at t^3, and it depends on the order of the columns."""
    x, _, u, _, _ = problem(Stiefel(), 7, 4)
    qr, polar = geoopt.EuclideanStiefel().retr, Stiefel().retract
    assert agree(qr(x, u), pymanopt.Stiefel(7, 4).retraction(x.numpy(), u.numpy()))
    assert order(lambda t: qr(x, t * u) - x - t * u) == pytest.approx(2.0, abs=0.02)
    assert order(lambda t: qr(x, t * u) - Stiefel().exp(x, t * u)) == pytest.approx(2.0, abs=0.02)
    assert order(lambda t: polar(x, t * u) - Stiefel().exp(x, t * u)) == pytest.approx(3.0, abs=0.02)
    assert not agree(qr(x.flip(-1), u.flip(-1)), qr(x, u).flip(-1))
    assert agree(polar(x.flip(-1), u.flip(-1)), polar(x, u).flip(-1))


def test_an_arc_cosine_does_not_see_short_distances(geoopt, pymanopt):
    """geoopt clips the cosine at 1 - 1e-7, an angle of 4e-4; pymanopt at 1, where rounding alone is worth 1e-8."""
    x, _, u, _, _ = problem(Sphere(), 1, 5)
    y = Sphere().exp(x, 1e-9 * u / u.norm())
    assert Sphere().distance(x, y).item() == pytest.approx(1e-9, rel=1e-6)
    assert geoopt.Sphere().dist(x, y).item() == pytest.approx(4.5e-4, rel=0.1)
    assert geoopt.Sphere().dist(x, x).item() == pytest.approx(4.5e-4, rel=0.1)
    assert pymanopt.Sphere(1, 5).dist(x.numpy(), y.numpy()) != pytest.approx(1e-9, rel=0.5)
    x, _, u, _, _ = problem(Grassmann(), 7, 3)
    y = Grassmann().exp(x, 1e-9 * u / u.norm())
    assert Grassmann().distance(x, y).item() == pytest.approx(1e-9, rel=1e-6)
    assert pymanopt.Grassmann(7, 3).dist(x.numpy(), y.numpy()) != pytest.approx(1e-9, rel=0.5)


def test_logarithms_at_the_antipode(geoopt, pymanopt):
    """Every direction leads there. Theirs leave the tangent space, or stay at x; ours is one that arrives."""
    x, _, _, _, _ = problem(Sphere(), 1, 5)
    theirs = geoopt.Sphere().logmap(x, -x), torch.from_numpy(pymanopt.Sphere(1, 5).log(x.numpy(), -x.numpy()))
    for u in theirs:
        arrives = agree(Sphere().exp(x, u), -x)
        assert not (agree(Sphere().to_tangent(x, u), u) and arrives)
    u = Sphere().log(x, -x)
    assert agree(Sphere().to_tangent(x, u), u)
    assert agree(Sphere().exp(x, u), -x)


def test_transports_that_are_not_parallel(geoopt, pymanopt):
    """Projection at the new point shortens; leaving v alone, or its coordinates in a group, is not parallel either."""
    x, _, u, v, _ = problem(Sphere(), 1, 5)
    y = Sphere().exp(x, u)
    for projected in (
        geoopt.Sphere().transp(x, y, u),
        pymanopt.Sphere(1, 5).transport(x.numpy(), y.numpy(), u.numpy()),
    ):
        assert torch.as_tensor(projected).norm() < 0.99 * u.norm()
    assert Sphere().transport(x, u, u).norm().item() == pytest.approx(u.norm().item())

    spd = SymmetricPositiveDefinite()
    x, _, u, v, _ = problem(spd, 4, 4)
    y = spd.exp(x, u)
    kept = torch.from_numpy(pymanopt.SymmetricPositiveDefinite(4).transport(x.numpy(), y.numpy(), v.numpy()))
    assert agree(v, kept)
    assert spd.inner(y, kept, kept).item() != pytest.approx(spd.inner(x, v, v).item(), rel=1e-2)
    moved = spd.transport(x, u, v)
    assert spd.inner(y, moved, moved).item() == pytest.approx(spd.inner(x, v, v).item())

    x, _, u, v, _ = problem(Stiefel(), 4, 4)  # as long as ours, but its covariant derivative is x [A, B] / 2
    a, b, h = x.mT @ u, x.mT @ v, 1e-5
    group = pymanopt.SpecialOrthogonalGroup(4)

    def coordinates_kept(t: float) -> Tensor:
        y = Stiefel().exp(x, t * u)
        return y @ torch.from_numpy(group.transport(x.numpy(), y.numpy(), b.numpy()))

    def parallel(t: float) -> Tensor:
        return Stiefel().transport(x, t * u, v)

    for carried, expected in ((coordinates_kept, x @ (a @ b - b @ a) / 2), (parallel, torch.zeros_like(x))):
        derivative = Stiefel().to_tangent(x, (carried(h) - carried(-h)) / (2 * h))
        assert torch.allclose(derivative, expected, atol=1e-8)


def test_projection_of_an_indefinite_matrix(geoopt):
    """geoopt reflects negative eigenvalues, which goes twice as far as need be; ours raises them to the floor."""
    g = normal(5, 5)
    spd = SymmetricPositiveDefinite()
    ours, theirs = spd.project(g), geoopt.SymmetricPositiveDefinite().projx(g)
    assert max(spd.violation(ours), spd.violation(theirs)) <= 1e-15
    assert (g - ours).norm() < 0.9 * (g - theirs).norm()
    x, _, _, _, _ = problem(spd, 3, 5, 5)
    assert agree(spd.project(x), geoopt.SymmetricPositiveDefinite().projx(x))  # positive definite ones stay


def test_doubly_stochastic_matrices_of_geoopt(geoopt):
    """The interior in the Fisher metric <u, v / x>, not in the Frobenius one: other maps of the same names.

    Its `projx` scales rows and columns, and is not the nearest point. Its `proju` is the gradient of that metric,
    x * g made tangent, and no projection. Scaling stops at sums within 1e-5 of 1, which shows in its retraction: no
    step comes closer to x + u than that. The orthogonal projection onto tangents is P g P.
    """
    theirs = geoopt.BirkhoffPolytope()
    x = torch.as_tensor(theirs.projx(normal(5, 5).exp()))
    assert 1e-9 < torch.maximum((x.sum(-1) - 1).abs(), (x.sum(-2) - 1).abs()).max() < 1e-5
    once = theirs.proju(x, normal(5, 5, seed=1))
    assert (theirs.proju(x, once) - once).norm() > 0.1 * once.norm()
    centre = torch.eye(5, dtype=torch.float64) - 0.2
    assert (centre @ once @ centre - once).abs().max() < 1e-4
    u = centre @ normal(5, 5, seed=2) @ centre * 0.01
    assert order(lambda t: theirs.retr(x, t * u) - x - t * u, (1.0, 0.1)) > 1.9
    assert order(lambda t: theirs.retr(x, t * u) - x - t * u, (1e-3, 1e-4)) < 0.5

"""Closed forms of the Stiefel manifold, against singular vectors in float64."""

import math

import pytest
import torch
from scipy.linalg import expm
from torch import Tensor

from modular_manifolds.manifolds import NoClosedFormError, Stiefel

SHAPES = [(5, 5), (9, 4), (4, 9), (6, 1), (2, 8, 3)]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def polar(x: Tensor) -> Tensor:
    u, _, vt = torch.linalg.svd(x, full_matrices=False)
    return u @ vt


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_project_is_the_polar_factor(shape):
    x = normal(*shape)
    assert torch.allclose(Stiefel(0.7).project(x), 0.7 * polar(x), atol=1e-13)


@pytest.mark.parametrize(("m", "n"), [(8, 8), (12, 5), (5, 12)])
@pytest.mark.parametrize("rank", [0, 1, 3, 4])
def test_project_completes_a_rank_deficient_matrix(m, n, rank):
    """What x determines is kept: the distance to x is that of its singular values to the radius."""
    x = normal(m, rank) @ normal(rank, n, seed=1)
    y = Stiefel(2.0).project(x)
    nearest = (torch.linalg.svdvals(x) - 2).norm()
    assert Stiefel(2.0).violation(y) < 1e-14
    assert (x - y).norm().item() == pytest.approx(nearest.item(), rel=1e-12)
    assert torch.equal(y, Stiefel(2.0).project(x))
    assert torch.allclose(y, Stiefel(2.0).project(torch.stack([normal(m, n), x]))[1], atol=1e-13)


@pytest.mark.parametrize(("dtype", "slack"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_project_does_not_depend_on_one_completion(dtype, slack):
    """The completion of zero is what other null spaces are completed with: here it vanishes between two of them."""
    left = Stiefel().project(torch.zeros(6, 6, dtype=torch.float64))[:, :1]
    x = normal(6, 6)
    x[:, 1] = 0
    x = x - left @ (left.mT @ x)
    assert Stiefel().violation(Stiefel().project(x.to(dtype))) < slack


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_to_tangent_splits_inside_and_outside_the_span(shape):
    """W skew(W^T G) + (I - W W^T) G, an equal form of the projection for a tall W with W^T W = I."""
    x, g = Stiefel(3.0).random(shape, dtype=torch.float64), normal(*shape)
    w, h = (x / 3, g) if shape[-2] >= shape[-1] else (x.mT / 3, g.mT)
    inside = w.mT @ h
    expected = w @ (inside - inside.mT) / 2 + h - w @ inside
    expected = expected if shape[-2] >= shape[-1] else expected.mT
    assert torch.allclose(Stiefel(3.0).to_tangent(x, g), expected, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_retract_is_the_polar_factor_of_the_sum(shape):
    x = Stiefel(3.0).random(shape, dtype=torch.float64)
    u = Stiefel(3.0).to_tangent(x, normal(*shape))
    assert torch.linalg.svdvals(x + u).min() >= 3 - 1e-12
    assert torch.allclose(Stiefel(3.0).retract(x, u), 3 * polar(x + u), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (6, 1), (20, 20), (40, 17), (17, 40), (2, 3, 24, 8)], ids=str)
@pytest.mark.parametrize("radius", [1.0, 1e-6, 3e5])
def test_retract_is_exact_for_steps_of_all_sizes(dtype, shape, radius):
    """Whatever number of terms a size of step asks for, also within one batch."""
    manifold = Stiefel(radius)
    x = manifold.random(shape, dtype=dtype)
    u = manifold.to_tangent(x, normal(*shape).to(dtype))
    u = u / torch.linalg.matrix_norm(u, 2, keepdim=True).clamp(min=1e-300 if dtype == torch.float64 else 1e-30)
    if len(shape) > 2:
        u = u * torch.logspace(-3, 0, 6, dtype=dtype).reshape(2, 3, 1, 1)
    sizes = [0.0, 1e-7, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0, 3.0, 30.0, 1e4]
    for size in sizes:
        y = x + size * radius * u
        error = (manifold.retract(x, size * radius * u).double() / radius - polar(y.double())).abs().max()
        assert error <= (30 if size < 0.5 else 100) * torch.finfo(dtype).eps
        assert manifold.violation(manifold.retract(x, size * radius * u)).max() <= 10 * torch.finfo(dtype).eps


def test_retract_does_not_round_small_steps_away():
    """A step that float32 can just store arrives: a hundred of them go a hundred times as far.

    The rounding of a hundred sums adds up to 1.6 % of that distance at most, in 200 starts, across the direction.
    """
    torch.manual_seed(0)
    start = Stiefel().random((64, 32), dtype=torch.float32)
    x, g = start.clone(), normal(64, 32).float()
    step = 1e-6
    for _ in range(100):
        u = Stiefel().to_tangent(x, g)
        x = Stiefel().retract(x, u * (step / u.norm()))
    u = Stiefel().to_tangent(start, g)
    assert (x - start).norm().item() == pytest.approx(100 * step, rel=0.03)
    assert ((x - start) * u).sum() / u.norm() == pytest.approx(100 * step, rel=0.02)


@pytest.mark.parametrize("off", [0.5, 1.5, 1e-30, 1e30])
def test_retract_lands_from_off_the_manifold(off):
    x = off * Stiefel().random((9, 4), dtype=torch.float64)
    x[:, 0] *= 0.1
    y = Stiefel().retract(x, torch.zeros_like(x))
    assert torch.allclose(y, polar(x), atol=1e-12)


def test_retract_passes_nan_on_to_its_own_matrix_only():
    x = Stiefel().random((2, 5, 3), dtype=torch.float64)
    u = 0.1 * Stiefel().to_tangent(x, normal(2, 5, 3))
    alone = Stiefel().retract(x[1], u[1])
    u[0, 1, 1] = torch.nan
    y = Stiefel().retract(x, u)
    assert y[0].isnan().any()
    assert torch.allclose(y[1], alone, atol=1e-12)


@pytest.mark.parametrize(("m", "n"), [(3, 3), (4, 2), (2, 4)])
def test_random_is_uniform(m, n):
    """Every row or column along the longer axis is uniform on a sphere, and a square x has either orientation."""
    generator = torch.Generator().manual_seed(0)
    x = Stiefel(2.0).random((20000, m, n), generator=generator, dtype=torch.float64) / 2
    d = max(m, n)
    assert x.mean(0).abs().max() < 0.02
    assert (x.pow(2).mean(0) - 1 / d).abs().max() < 0.01
    assert (x.pow(4).mean(0) - 3 / (d * (d + 2))).abs().max() < 0.01
    if m == n:
        assert torch.linalg.det(x).sign().mean().abs() < 0.04


def test_violation_is_the_worst_entry_of_the_gram_matrix():
    x = torch.tensor([[1.0, 0.0], [0.0, 1.5], [0.0, 0.0]])
    assert Stiefel().violation(x).item() == pytest.approx(1.25)
    assert Stiefel().violation(x.mT).item() == pytest.approx(1.25)
    assert Stiefel(2.0).violation(2 * x).item() == pytest.approx(1.25)
    skewed = torch.tensor([[1.0, 0.6], [0.0, 0.8]])
    assert Stiefel().violation(skewed).item() == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("shape", "dimension"), [((5, 5), 10), ((9, 4), 26), ((4, 9), 26), ((6, 1), 5), ((1, 1), 0), ((3, 9, 4), 78)]
)
def test_dimension(shape, dimension):
    assert Stiefel().dimension(shape) == dimension


def matrix_exp(x: Tensor) -> Tensor:
    """SciPy's, as that of torch has a wrong coefficient (pytorch/pytorch issue 196592)."""
    return torch.from_numpy(expm(x.numpy()))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_exp_is_the_formula_of_edelman_arias_and_smith(shape):
    """Equation 2.42 as it is printed, whose blocks are not balanced and lose digits for long steps."""
    stiefel = Stiefel(0.7)
    x = stiefel.random(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u = stiefel.to_tangent(x, 0.3 * normal(*shape))
    y, v = (x / 0.7, u / 0.7) if shape[-2] >= shape[-1] else (x.mT / 0.7, u.mT / 0.7)
    a, s, eye = y.mT @ v, v.mT @ v, torch.eye(y.shape[-1], dtype=y.dtype).expand(*y.shape[:-2], -1, -1)
    block = torch.cat([torch.cat([a, -s], -1), torch.cat([eye, a], -1)], -2)
    end = 0.7 * torch.cat([y, v], -1) @ matrix_exp(block)[..., : y.shape[-1]] @ matrix_exp(-a)
    assert torch.allclose(stiefel.exp(x, u), end if shape[-2] >= shape[-1] else end.mT, atol=1e-13)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_exp_where_the_part_outside_the_span_has_little_rank(rank):
    """Its basis is then arbitrary in part. The end stays in the space of x and u, where all happens."""
    x = torch.eye(9, 4, dtype=torch.float64)
    u = x @ (normal(4, 4) - normal(4, 4).mT) / 3
    u[4:] = normal(5, rank, seed=1) @ normal(rank, 4, seed=2)
    y = Stiefel().exp(x, u)
    halves = x, u / 2
    for _ in range(2):  # the same way in two halves, the second by transporting the velocity as the derivative
        halves = (
            Stiefel().exp(*halves),
            (Stiefel().exp(x, (0.5 + 1e-6) * u) - Stiefel().exp(x, (0.5 - 1e-6) * u)) / 4e-6,
        )
    assert Stiefel().violation(y) < 1e-14
    assert torch.linalg.matrix_rank(torch.cat([x, y], -1), atol=1e-12) == 4 + rank
    assert torch.allclose(halves[0], y, atol=1e-8)


def test_square_geodesics_are_those_of_the_rotation_group():
    x = Stiefel(3.0).random((2, 5, 5), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a, b = (0.3 * (normal(2, 5, 5, seed=i) - normal(2, 5, 5, seed=i).mT) for i in (1, 2))
    assert torch.allclose(Stiefel(3.0).exp(x, x @ a), x @ matrix_exp(a), atol=1e-13)
    half = matrix_exp(a / 2)
    assert torch.allclose(Stiefel(3.0).transport(x, x @ a, x @ b), x @ half @ b @ half, atol=1e-13)
    assert torch.allclose(Stiefel(3.0).distance(x, x @ matrix_exp(a)), 3 * a.flatten(1).norm(dim=1), atol=1e-13)


@pytest.mark.parametrize("gap", [1e-2, 1e-6, 1e-9, 1e-12, 0.0])
def test_log_near_a_half_turn(gap):
    q = Stiefel().random((6, 6), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    angles = torch.tensor([math.pi - gap, 0.3], dtype=torch.float64)
    turn = torch.zeros(6, 6, dtype=torch.float64)
    turn[0, 1], turn[2, 3] = angles
    a = q @ (turn - turn.mT) @ q.mT
    y = q @ matrix_exp(a)
    assert Stiefel().distance(q, y).item() == pytest.approx(math.sqrt(2) * angles.norm().item(), rel=1e-14)
    assert torch.allclose(Stiefel().exp(q, Stiefel().log(q, y)), y, atol=1e-13)
    if gap > 1e-11:
        assert torch.allclose(Stiefel().log(q, y), q @ a, atol=1e-13)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 4, 1)], ids=str)
def test_no_closed_form_unless_square(shape):
    x = Stiefel().random(shape)
    for question in (Stiefel().log, Stiefel().distance, lambda x, y: Stiefel().transport(x, x, y)):
        with pytest.raises(
            NoClosedFormError, match=r"Stiefel\(radius=1.0\) has no closed form .* of non-square matrices"
        ):
            question(x, x)


@pytest.mark.parametrize("n", [1, 4, 5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_component_is_the_sign_of_the_determinant_and_is_kept(n, dtype):
    stiefel = Stiefel(1e-3)
    rotation = stiefel.random((n, n), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rotation[0] *= torch.linalg.det(rotation).sign()
    x = torch.stack([rotation, rotation.flip(-1) if n in (2, 3) else rotation * (1 - 2 * torch.eye(n)[0])]).to(dtype)
    assert stiefel.component(x).tolist() == [1, -1]
    assert stiefel.component(x).dtype == dtype
    for size in (0.1, 1.0, 3.0, 30.0):
        u = stiefel.to_tangent(x, size * stiefel.radius * normal(2, n, n).to(dtype))
        assert stiefel.component(stiefel.retract(x, u)).tolist() == [1, -1]
        assert stiefel.component(stiefel.exp(x, u)).tolist() == [1, -1]
    for question in (stiefel.log, stiefel.distance):
        with pytest.raises(ValueError, match="different components"):
            question(x, x.flip(0))


def test_component_of_a_connected_manifold():
    for shape in ((5, 3), (3, 5), (0, 3, 2), (2, 0, 3), (2, 3, 1)):
        assert torch.equal(Stiefel().component(torch.zeros(shape)), torch.ones(shape[:-2]))
    assert torch.equal(Stiefel().component(torch.zeros(2, 0, 0)), torch.ones(2))

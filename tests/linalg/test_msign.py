"""msign against float64 singular vectors, over shapes, scales and ranks."""

import pytest
import torch

from modular_manifolds.linalg import GAP, msign, msign_skew, nearly_msign_skew, skew
from modular_manifolds.linalg.polar_express import best_quintic, evaluate, schedule, schedule_of_length

SHAPES = [(1, 1), (5, 1), (1, 5), (7, 7), (64, 64), (90, 40), (40, 90), (3, 20, 31), (2, 3, 9, 4)]


def polar(x: torch.Tensor) -> torch.Tensor:
    """U V^T of a full-rank x."""
    u, _, vt = torch.linalg.svd(x.double(), full_matrices=False)
    return u @ vt


def conditioned(m: int, n: int, values: torch.Tensor) -> torch.Tensor:
    u, v = polar(torch.randn(m, len(values))), polar(torch.randn(n, len(values)))
    return (u * values) @ v.mT


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize(
    ("dtype", "precision", "error"),
    [(torch.float64, "exact", 1e-12), (torch.float32, "exact", 5e-6)],
)
def test_is_the_polar_factor_at_every_scale(shape, scale, dtype, precision, error):
    torch.manual_seed(0)
    m, n = shape[-2:]
    x = torch.stack([conditioned(m, n, torch.linspace(0.05, 1, min(m, n)).double()) for _ in range(6)])
    x = x.reshape(2, 3, m, n)[(0,) * (4 - len(shape))] if len(shape) < 4 else x.reshape(2, 3, m, n)
    result = msign((x * scale).to(dtype), precision)
    assert result.dtype == dtype
    assert result.shape == x.shape
    assert (result.double() - polar(x)).abs().max() < error


SPECTRA = {
    "equal": lambda i: torch.ones_like(i),
    "linear": lambda i: 1 - i,
    "power -1/2": lambda i: (1 + 100 * i) ** -0.5,
    "power -1": lambda i: 1 / (1 + 100 * i),
    "power -2": lambda i: (1 + 100 * i) ** -2,
    "down to 1e-6": lambda i: 10 ** (-6 * i),
    "one and many small": lambda i: torch.where(i == 0, 1.0, 2e-3),
    "one and many tiny": lambda i: torch.where(i == 0, 1.0, 1e-4),
    "half rank": lambda i: (i < 0.5).double(),
    "rank one": lambda i: (i == 0).double(),
}


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("precision", GAP)
@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize(("m", "n"), [(150, 150), (40, 130), (7, 7)])
def test_keeps_the_promised_gap_for_any_spectrum(m, n, spectrum, precision, scale):
    torch.manual_seed(0)
    values = SPECTRA[spectrum](torch.linspace(0, 1, min(m, n), dtype=torch.float64))
    x = conditioned(m, n, values)
    y = msign((x * scale).float(), precision).double()
    assert (x * y).sum() >= (1 - GAP[precision]) * values.sum()
    assert torch.linalg.matrix_norm(y, 2) <= (1 + 1e-5 if precision == "exact" else 1.01)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("exact", torch.float32), *((p, d) for p in ("balanced", "fast") for d in (torch.float32, torch.bfloat16))],
)
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_a_nearly_skew_sign_keeps_it_too(spectrum, precision, dtype):
    torch.manual_seed(0)
    values = SPECTRA[spectrum](torch.linspace(0, 1, 75, dtype=torch.float64))
    frame = polar(torch.randn(150, 150))
    x = frame @ skew(torch.kron(torch.diag(values), torch.tensor([[0.0, 2.0], [0.0, 0.0]]).double())) @ frame.mT
    y = nearly_msign_skew(skew(x.float()).to(dtype), precision)
    if y is None:
        assert precision != "exact"
        return
    assert torch.equal(y, -y.mT)
    assert (x * y).sum() >= (1 - GAP[precision]) * 2 * values.sum()
    assert torch.linalg.matrix_norm(y.double(), 2) <= (1 + 1e-5 if precision == "exact" else 1.01)


def test_rounding_does_not_make_a_skew_sign_grow():
    torch.manual_seed(0)
    values = torch.exp(-torch.linspace(0, 20, 256, dtype=torch.float64))
    frame = polar(torch.randn(512, 512))
    x = frame @ skew(torch.kron(torch.diag(values), torch.tensor([[0.0, 2.0], [0.0, 0.0]]).double())) @ frame.mT
    y = nearly_msign_skew(skew(x.bfloat16()), "balanced")
    assert y is not None
    assert torch.linalg.matrix_norm(y.double(), 2) < 1.005


@pytest.mark.parametrize(("dtype", "slack"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_never_exceeds_one_by_more_than_rounding(dtype, slack):
    torch.manual_seed(0)
    for x in (torch.randn(60, 60), torch.randn(60, 20), conditioned(50, 50, torch.logspace(0, -9, 50).double())):
        values = torch.linalg.svdvals(msign(x.to(dtype)).double())
        assert values.max() <= 1 + slack


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-7), (torch.float32, 1e-3)])
def test_is_zero_on_the_null_space(dtype, error):
    torch.manual_seed(0)
    factor = torch.randn(80, 5, dtype=torch.float64)
    x = factor @ torch.randn(5, 60, dtype=torch.float64)
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    expected = u[:, :5] @ vt[:5]
    assert s[5] < 1e-12 * s[0]
    assert (msign(x.to(dtype)).double() - expected).abs().max() < error


@pytest.mark.parametrize("precision", GAP)
def test_zero_and_empty(precision):
    assert torch.equal(msign(torch.zeros(4, 3), precision), torch.zeros(4, 3))
    for shape in [(0, 4, 3), (4, 0), (0, 4), (2, 0, 0)]:
        assert msign(torch.zeros(shape), precision).shape == shape


def test_bfloat16_is_computed_in_float32_and_returned_in_kind():
    x = torch.randn(30, 20).bfloat16()
    result = msign(x)
    assert result.dtype == torch.bfloat16
    assert (result.double() - polar(x.float())).abs().max() < 5e-3


@pytest.mark.parametrize("precision", GAP)
@pytest.mark.parametrize("n", [1, 2, 7, 50, 51])
def test_skew_stays_skew_to_the_last_bit(n, precision):
    torch.manual_seed(n)
    result = msign_skew(skew(torch.randn(3, n, n)), precision)
    assert torch.equal(result, -result.mT)
    if n % 2 == 0:
        gram = result.mT @ result
        assert (gram - torch.eye(n)).abs().max() < (1e-5 if precision == "exact" else 1)


def test_batched_equals_looped():
    torch.manual_seed(0)
    x = torch.randn(4, 12, 8)
    assert torch.allclose(msign(x), torch.stack([msign(one) for one in x]), atol=1e-6)


def test_non_finite_input_is_named_when_checking():
    x = torch.randn(3, 3)
    x[1, 1] = float("nan")
    with pytest.raises(ValueError, match=r"encoder\.weight of shape \(3, 3\) has 1 non-finite entries \(NaN\)"):
        msign(x, check=True, name="encoder.weight")
    x[1, 1] = float("inf")
    with pytest.raises(ValueError, match="Inf"):
        msign(x, check=True)
    assert msign(x).isnan().any()


@pytest.mark.parametrize("x", [torch.ones(3, 3, dtype=torch.int64), torch.ones(3, 3, dtype=torch.complex64)])
def test_wrong_dtypes_are_refused(x):
    with pytest.raises(TypeError, match="floating-point"):
        msign(x)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="matrix"):
        msign(torch.ones(3))
    with pytest.raises(ValueError, match="'exact', 'balanced', 'fast'"):
        msign(torch.ones(3, 3), "quick")


@pytest.mark.parametrize(
    ("floor", "tolerance", "margin"), [(1e-3, 1e-2, 0.02), (1e-5, 4e-4, 1e-3), (1e-12, 1e-8, 1e-3)]
)
def test_schedules_keep_their_promise(floor, tolerance, margin):
    x = torch.logspace(torch.log10(torch.tensor(floor)), 0, 20001, dtype=torch.float64)
    for p in schedule(floor, tolerance, margin):
        x = evaluate(p, x)
        assert x.max() <= 1 + 1e-12
        assert evaluate(p, 1 + margin) <= 1 + max(margin**2, 1e-6) + 3 * margin**3
    assert x.min() >= 1 - tolerance


@pytest.mark.parametrize(("tolerance", "margin"), [(2e-3, 0.01), (2e-5, 1e-3), (1e-6, 1e-3)])
@pytest.mark.parametrize("length", range(3, 10))
def test_what_a_schedule_leaves_below_its_floor_is_proportional_at_least(length, tolerance, margin):
    """The bound on what an msign may have lost rests on it."""
    floor, steps = schedule_of_length(length, tolerance, margin)
    assert len(steps) == length
    x = torch.logspace(torch.log10(torch.tensor(floor)) - 6, 0, 20001, dtype=torch.float64)
    y = x
    for p in steps:
        y = evaluate(p, y)
    assert (y >= (1 - tolerance) * (x / floor).clamp(max=1)).all()


def test_best_quintic_equioscillates():
    p, error = best_quintic(0.2)
    x = torch.linspace(0.2, 1, 20001, dtype=torch.float64)
    off = evaluate(p, x) - 1
    assert off.max().item() == pytest.approx(error, rel=1e-6)
    assert off.min().item() == pytest.approx(-error, rel=1e-6)
    # no odd quintic does better: the error changes sign at four points (Chebyshev)
    nudged = [
        evaluate((p[0] + da, p[1] + db, p[2] - da - db), x) - 1 for da in (-1e-2, 1e-2) for db in (-1e-2, 0, 1e-2)
    ]
    assert all(n.abs().max() > error for n in nudged)


def test_schedule_refuses_nonsense():
    with pytest.raises(ValueError, match="between 0 and 1"):
        schedule(0.0, 0.1)

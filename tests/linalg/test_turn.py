import pytest
import torch

from modular_manifolds.linalg import rotation_exp, skew, turn


def rotation_and_generator(n, length, dtype=torch.float64, batch=()):
    generator = torch.Generator().manual_seed(n)
    x = torch.linalg.qr(torch.randn(*batch, n, n, generator=generator, dtype=torch.float64)).Q
    k = skew(torch.randn(*batch, n, n, generator=generator, dtype=torch.float64))
    return x.to(dtype), (length * k / torch.linalg.matrix_norm(k, 2).amax().clamp(min=1e-9)).to(dtype)


@pytest.mark.parametrize("n", [1, 2, 5, 64])
@pytest.mark.parametrize("length", [0.0, 1e-3, 0.3, 3.0, 100.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_result_is_orthogonal_however_long_the_turn(n, length, dtype):
    x, k = rotation_and_generator(n, length, dtype)
    y = turn(x, k)
    assert (y.mT @ y - torch.eye(n, dtype=dtype)).abs().max() < 40 * torch.finfo(dtype).eps * n**0.5


@pytest.mark.parametrize("length", [1e-3, 0.01, 0.1, 0.4])
def test_it_follows_the_exponential_to_third_order(length):
    x, k = rotation_and_generator(9, length)
    assert (turn(x, k) - x @ rotation_exp(k)).abs().max() < length**3 / 50


def test_batches_turn_one_by_one():
    x, k = rotation_and_generator(6, 0.5, batch=(3,))
    together = turn(x, k)
    assert all(torch.allclose(together[i], turn(x[i], k[i]), atol=1e-4) for i in range(3))
    assert turn(x[:0], k[:0]).shape == (0, 6, 6)


def test_a_thousand_turns_stay_orthogonal():
    x, k = rotation_and_generator(24, 0.1, torch.float32)
    for _ in range(1000):
        x = turn(x, k)
    assert (x.mT @ x - torch.eye(24)).abs().max() < 1e-5

"""Clipping of singular values."""

import pytest
import torch

from modular_manifolds.linalg import clip_singular_values


@pytest.mark.parametrize(
    "shape", [(1, 1), (6, 1), (5, 5), (9, 4), (4, 9), (2, 3, 6, 4), (0, 3), (3, 0), (0, 4, 3)], ids=str
)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-13), (torch.float32, 1e-6)], ids=str)
@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_is_the_svd_with_clipped_values(shape, dtype, error, scale):
    x = scale * torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    u, s, vh = torch.linalg.svd(x.double(), full_matrices=False)
    y = clip_singular_values(x)
    assert y.dtype == dtype
    assert torch.allclose(y.double(), u @ torch.diag_embed(s.clamp(max=1)) @ vh, atol=error)


def test_leaves_a_short_matrix_alone_to_the_last_bit():
    x = torch.randn(6, 4) / 20
    assert torch.equal(clip_singular_values(x), x)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_only_what_sticks_out_of_a_batch_is_touched(scale):
    x = scale * torch.randn(2, 3, 6, 4, dtype=torch.float64)
    x[0, 1] *= 0.01
    x[1, 2] *= 1e-3
    u, s, vh = torch.linalg.svd(x, full_matrices=False)
    y = clip_singular_values(x, scale)
    assert torch.allclose(y / scale, u @ torch.diag_embed((s / scale).clamp(max=1)) @ vh, atol=1e-12)
    assert torch.equal(y[0, 1], x[0, 1])
    assert torch.equal(y[1, 2], x[1, 2])


def test_rank_deficient_and_repeated_singular_values():
    q = torch.linalg.qr(torch.randn(60, 40, dtype=torch.float64))[0]
    assert torch.allclose(clip_singular_values(3 * q.float()), q.float(), atol=1e-6)
    x = torch.ones(5, 3, dtype=torch.float64)
    assert torch.allclose(clip_singular_values(x), x / 15**0.5, atol=1e-14)


def test_nan_is_passed_on():
    x = torch.randn(2, 4, 3)
    x[1, 0, 0] = torch.nan
    y = clip_singular_values(x)
    assert y[1].isnan().all()
    assert not y[0].isnan().any()

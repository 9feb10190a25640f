"""Products that save work give what the plain ones give."""

import pytest
import torch

from modular_manifolds.linalg import add_product, gram_error
from modular_manifolds.linalg import products as module


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(9, 7), (2, 3, 5, 8), (1, 1), (3, 0), (0, 3), (0, 4, 3)], ids=str)
@pytest.mark.parametrize("large", [1, 30, 2**20])
def test_a_symmetric_product_is_the_product(monkeypatch, shape, large):
    monkeypatch.setattr(module, "LARGE", large)
    x = normal(*shape)
    y = x @ (lambda s: s + s.mT)(normal(*shape[:-2], shape[-1], shape[-1], seed=1))
    assert torch.allclose(module.symmetric_product(x, x), x.mT @ x, atol=1e-13)
    space = torch.empty_like(x.mT @ x)
    assert module.symmetric_product(x, x, space) is space
    assert torch.allclose(space, x.mT @ x, atol=1e-13)
    gram = x.mT @ x
    assert torch.allclose(module.symmetric_product(gram, gram), gram @ gram, atol=1e-11)
    assert y.shape == x.shape
    assert torch.allclose(gram_error(x), gram - torch.eye(shape[-1], dtype=x.dtype), atol=1e-13)


@pytest.mark.parametrize("shape", [(9, 9), (2, 3, 5, 5), (1, 1), (0, 0), (0, 4, 4)], ids=str)
@pytest.mark.parametrize("large", [1, 2**20])
def test_a_skew_product_is_the_product(monkeypatch, shape, large):
    monkeypatch.setattr(module, "LARGE", large)
    x = normal(*shape)
    x = x - x.mT
    y = x @ x
    expected = x @ y + 3 * x
    assert torch.allclose(module.skew_product(x, y, 3.0), expected, atol=1e-11)
    space = torch.empty_like(x)
    assert torch.allclose(module.skew_product(x, y, 3.0, space), expected, atol=1e-11)
    assert torch.allclose(module.skew_gram(x), x.mT @ x, atol=1e-11)
    assert torch.allclose(module.symmetric_square(y), y @ y, atol=1e-11)
    if module.bands(x):
        result = module.skew_product(x, y + 1e-3 * normal(*shape, seed=2), 3.0)
        assert torch.equal(result, -result.mT)


def test_bfloat16_is_not_cut_up_where_tiles_are_multiplied(monkeypatch):
    x = normal(1024, 1024)
    for tiles in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda found=tiles: found)
        assert bool(module.bands(x.bfloat16())) is not tiles
        assert module.bands(x)


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)], ids=str)
@pytest.mark.parametrize("transposed", [False, True])
def test_add_product(batch, transposed):
    c, x, y = normal(*batch, 5, 4), normal(*batch, 5, 3, seed=1), normal(*batch, 3, 4, seed=2)
    if transposed:
        c, x, y = c.mT, y.mT, x.mT
    kept = c.clone()
    assert torch.allclose(add_product(c, x, y, -0.5), c - x @ y / 2, atol=1e-14)
    assert torch.equal(c, kept)
    empty = add_product(torch.zeros(0, 5, 4), torch.zeros(0, 5, 3), torch.zeros(0, 3, 4))
    assert empty.shape == (0, 5, 4)


def test_what_the_processor_can_do_is_not_asked_while_compiling(monkeypatch):
    monkeypatch.setattr(module, "LARGE", 1)
    x = normal(8, 8).bfloat16()
    compiled = torch.compile(module.skew_gram, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(x).float(), (x @ x.mT).float(), atol=0.1)

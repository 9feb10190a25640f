"""The library's conformance suite on every norm. Their values are checked in test_norms.py."""

import pytest
import torch

from modular_manifolds.linalg import length, spectral_norm
from modular_manifolds.norms import (
    ConvOperator,
    Frobenius,
    MaxColumn,
    MaxEntry,
    MaxRow,
    Nuclear,
    PerBlock,
    PerHead,
    RMSOperator,
    RowSup,
    Schatten,
    Spectral,
    TransposedRMSOperator,
)
from modular_manifolds.testing import norm_checks

NORMS = [
    Frobenius(),
    Spectral(),
    RMSOperator(),
    ConvOperator(9),
    TransposedRMSOperator(),
    Nuclear(),
    Schatten(1.5),
    Schatten(4.0),
    Schatten(1e6),
    MaxRow(),
    MaxColumn(),
    MaxEntry(),
    RowSup(),
    PerBlock(Spectral(), 2),
    PerBlock((Spectral(), MaxRow(), Nuclear()), (1, 2, 3), weights=(0.5, 1.0, 2.0)),
    PerBlock(Schatten(3.0), (2, 2), "columns", (1.0, 0.1)),
    PerBlock(PerBlock(MaxRow(), 2, "columns"), 3),
    PerHead(RMSOperator(), 2, "columns"),
    PerHead((Frobenius(), MaxEntry(), RowSup()), 3),
]


@pytest.mark.parametrize("norm", NORMS, ids=str)
@pytest.mark.parametrize("check", norm_checks.values(), ids=str)
def test_keeps_its_promises(norm, check):
    check.run(norm, examples=6)


@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_no_matrix_of_the_unit_ball_exceeds_the_norms_bounds(norm):
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        u = norm.lmo(torch.randn(6, 4, generator=generator, dtype=torch.float64))
        assert spectral_norm(u) <= norm.spectral_bound(6, 4) * (1 + 1e-9)
        assert length(u, -1).max() <= norm.row_bound(6, 4) * (1 + 1e-9)

"""The library's conformance suite on every norm. Their values are checked in test_norms.py."""

import pytest

from modular_manifolds.norms import (
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
)
from modular_manifolds.testing import norm_checks

NORMS = [
    Frobenius(),
    Spectral(),
    RMSOperator(),
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

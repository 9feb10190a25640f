"""docs/choosing.md says what the code does."""

import re

import pytest

import modular_manifolds as mm
from website.pairs import PAGE, with_table


def test_the_table_of_pairs_is_that_of_the_code() -> None:
    page = PAGE.read_text()
    assert page == with_table(page), "write it anew: python -m website.pairs"


M, N = 9, 4


@pytest.mark.parametrize(
    ("manifold", "removed"),
    [
        (mm.Euclidean(), 0),
        (mm.Sphere(), 1),
        (mm.SpectralSphere(), 1),
        (mm.SpectralBall(), 0),
        (mm.SpectralBand(0.5, 1.0), 0),
        (mm.Oblique("rows"), M),
        (mm.Oblique("columns"), N),
        (mm.DGram(), N * (N - 1) // 2),
        (mm.Stiefel(), N * (N + 1) // 2),
        (mm.Grassmann(), N**2),
        (mm.FixedRank(2), (M - 2) * (N - 2)),
        (mm.LowRankFactors(5), 0),
        (mm.SymmetricPositiveDefinite(), N * (N - 1) // 2),
        (mm.DoublyStochastic(), 2 * N - 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, mm.Manifold) else None,
)
def test_numbers_that_a_manifold_removes(manifold: mm.Manifold, removed: int) -> None:
    shape = (N, N) if isinstance(manifold, mm.SymmetricPositiveDefinite | mm.DoublyStochastic) else (M, N)
    assert shape[0] * shape[1] - manifold.dimension(shape) == removed


def test_every_manifold_and_norm_is_on_the_page() -> None:
    page = PAGE.read_text()
    for name in mm.__all__:
        kind = getattr(mm, name)
        if isinstance(kind, type) and issubclass(kind, mm.Manifold | mm.Norm) and kind not in (mm.Manifold, mm.Norm):
            assert re.search(rf"^\|.*`{name}\b", page, re.MULTILINE), name

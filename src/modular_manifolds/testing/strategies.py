"""Hypothesis strategies: what to try a manifold, a norm or a geometry on."""

from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import strategies as st

from modular_manifolds.testing.matrices import SPECTRA
from modular_manifolds.testing.shapes import matrix_shapes
from modular_manifolds.testing.tolerances import DTYPES

seeds = st.integers(0, 2**20)
"""Seeds of random entries."""

batches = st.sampled_from([(), (), (), (1,), (3,), (2, 2)])
"""Leading axes, half of the time none."""

spectra = st.sampled_from(list(SPECTRA))
"""Kinds of singular values."""

scales = st.one_of(st.just(1.0), st.integers(-30, 30).map(lambda exponent: 10.0**exponent))
"""From 1e-30 to 1e30, half of the time 1."""


def shapes(subject: Any) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes that a subject has: odd, square, tall, wide, 1 x n, single entries, batched or not."""
    return st.builds(lambda batch, matrix: (*batch, *matrix), batches, st.sampled_from(matrix_shapes(subject)))


def cases(
    subject: Any,
    dtypes: Sequence[torch.dtype] = DTYPES,
    among: Sequence[tuple[int, ...]] | None = None,
    *,
    varied: bool = True,
) -> st.SearchStrategy[dict[str, Any]]:
    """Arguments of a check.

    Args:
        subject: what will be checked.
        dtypes: to draw from.
        among: shapes to draw from; all that the subject has by default.
        varied: whether to draw a spectrum and a scale, too.
    """
    drawn: dict[str, st.SearchStrategy[Any]] = {
        "shape": shapes(subject) if among is None else st.sampled_from(list(among)),
        "dtype": st.sampled_from(list(dtypes)),
        "seed": seeds,
    }
    return st.fixed_dictionaries(drawn | ({"spectrum": spectra, "scale": scales} if varied else {}))

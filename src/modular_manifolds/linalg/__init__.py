"""Batched matrix functions. Matrices are the last two axes; every leading axis is a batch."""

from modular_manifolds.linalg.checks import check_finite
from modular_manifolds.linalg.inverse_sqrt import inverse_sqrt
from modular_manifolds.linalg.msign import msign, msign_skew, newton_schulz_polish
from modular_manifolds.linalg.nuclear_norm import nuclear_norm
from modular_manifolds.linalg.precision import Precision, check_precision, working_dtype
from modular_manifolds.linalg.scaling import drop_rounding, largest_entry, length, normalise, rounding
from modular_manifolds.linalg.spectral_norm import spectral_norm
from modular_manifolds.linalg.symmetry import skew, sym

__all__ = [
    "Precision",
    "check_finite",
    "check_precision",
    "drop_rounding",
    "inverse_sqrt",
    "largest_entry",
    "length",
    "msign",
    "msign_skew",
    "newton_schulz_polish",
    "normalise",
    "nuclear_norm",
    "rounding",
    "skew",
    "spectral_norm",
    "sym",
    "working_dtype",
]

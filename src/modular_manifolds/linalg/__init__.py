"""Batched matrix functions. Matrices are the last two axes; every leading axis is a batch."""

from modular_manifolds.linalg.checks import check_finite
from modular_manifolds.linalg.clip import clip_singular_values
from modular_manifolds.linalg.host import readable, recorded
from modular_manifolds.linalg.inverse_sqrt import inverse_sqrt
from modular_manifolds.linalg.lifted import lifted
from modular_manifolds.linalg.msign import (
    msign,
    msign_of_length,
    msign_skew,
    nearly_msign_skew,
    newton_schulz_polish,
)
from modular_manifolds.linalg.near_polar import near_polar
from modular_manifolds.linalg.nuclear_norm import nuclear_norm
from modular_manifolds.linalg.orthonormality import looks_orthonormal
from modular_manifolds.linalg.precision import GAP, Precision, check_precision, working_dtype
from modular_manifolds.linalg.products import add_product, add_rough_products, gram_error, product, symmetric_product
from modular_manifolds.linalg.rotations import rotation_exp, rotation_log
from modular_manifolds.linalg.scaling import drop_rounding, largest_entry, length, normalise, rounding
from modular_manifolds.linalg.spectral_norm import spectral_norm
from modular_manifolds.linalg.spectral_norm_bound import row_norm_bound, spectral_norm_bound
from modular_manifolds.linalg.symmetric_function import apply_to_eigenvalues, eigenpairs
from modular_manifolds.linalg.symmetry import skew, sym
from modular_manifolds.linalg.thin_svd import thin_svd
from modular_manifolds.linalg.turn import turn

__all__ = [
    "GAP",
    "Precision",
    "add_product",
    "add_rough_products",
    "apply_to_eigenvalues",
    "check_finite",
    "check_precision",
    "clip_singular_values",
    "drop_rounding",
    "eigenpairs",
    "gram_error",
    "inverse_sqrt",
    "largest_entry",
    "length",
    "lifted",
    "looks_orthonormal",
    "msign",
    "msign_of_length",
    "msign_skew",
    "near_polar",
    "nearly_msign_skew",
    "newton_schulz_polish",
    "normalise",
    "nuclear_norm",
    "product",
    "readable",
    "recorded",
    "rotation_exp",
    "rotation_log",
    "rounding",
    "row_norm_bound",
    "skew",
    "spectral_norm",
    "spectral_norm_bound",
    "sym",
    "symmetric_product",
    "thin_svd",
    "turn",
    "working_dtype",
]

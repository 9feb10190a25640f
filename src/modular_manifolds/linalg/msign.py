"""The matrix sign in the sense of the polar factor: msign(U S V^T) = U V^T, zero on the null space."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg.checks import check_matrix
from modular_manifolds.linalg.host import readable, recorded
from modular_manifolds.linalg.polar_express import Quintic, Schedule, schedule, schedule_of_length
from modular_manifolds.linalg.precision import GAP, Precision, working_dtype
from modular_manifolds.linalg.products import (
    add_product,
    bands,
    skew_gram,
    skew_product,
    symmetric_product,
    symmetric_quadratic,
    symmetric_square,
)
from modular_manifolds.linalg.scaling import largest_entry
from modular_manifolds.linalg.symmetry import skew

REJECT: Quintic = (0.0, 5 / 2, -3 / 2)
"""p(x) = (5 x^3 - 3 x^5) / 2: keeps 1, with p(1 - d) = 1 - 7.5 d^2, and takes rounding noise on the null space to its
cube. The iterations before amplify that noise as they amplify the small singular values."""

LENGTHS = range(3, 10)
"""Quintics to begin with, if a gap is all that is asked for."""

FLOAT32, FLOAT64 = (1e-5, 1e-6), (1e-12, 1e-14)
"""Smallest relative singular value that is resolved, and how far from 1 it may end."""

SMALL = 128
"""Size below which products are so cheap that their number hardly counts."""

PIECE = 2**17
"""Entries that are multiplied at a time to be summed: fresh memory costs more than that."""

SHORT = 2**15
"""Entries of a batch below which calls cost more than products."""

TOLERANCE, MARGIN = 2e-3, 0.01
"""In bfloat16: how far below 1 a resolved singular value may end, and what rounding may add to one in a step."""

LIKELY = 1.7
"""Nuclear norms of gradients over the bound by Hoelder's inequality, about: a guess that only speed depends on."""

BFLOAT16_FLOOR = 2e-5
"""Relative singular values below this are not sought in bfloat16, even where its rounding would leave them."""


class _Kind(NamedTuple):
    """How matrices of a kind are multiplied; both put the result in `space`, the last argument, if that is given."""

    gram: Callable[[Float[Tensor, "*b m n"], Float[Tensor, "*b n n"] | None], Float[Tensor, "*b n n"]]
    """x -> x^T x"""
    step: Callable[
        [Float[Tensor, "*b m n"], Float[Tensor, "*b n n"], float, Float[Tensor, "*b m n"] | None],
        Float[Tensor, "*b m n"],
    ]
    """(x, y, a) -> a x + x y"""


def msign(
    x: Float[Tensor, "*b m n"],
    precision: Precision = "exact",
    *,
    check: bool = False,
    name: str = "x",
) -> Float[Tensor, "*b m n"]:
    """Polar factor U V^T of x = U S V^T, from matrix products alone (Polar Express, arXiv 2505.16932).

    Args:
        x: matrices in the last two axes, of any scale; tall, square or wide.
        precision: `exact` is accurate to about 1e-6 in float32 and 1e-14 in float64; singular values below 1e-5
            (float32) or 1e-12 (float64) times the Schatten-8 norm of x count as zero, with a soft edge. `balanced` and
            `fast` promise <x, msign(x)> >= (1 - gap) ||x||_nuclear, with a gap of 1e-2 and 5e-2, from as few products
            in bfloat16 as that takes for the x at hand, small singular values being left between 0 and 1; where
            rounding to bfloat16 may cost more, they are `exact`. That is decided by numbers read on the host, if that
            is a CPU; on accelerators, and when compiled, the products are as many as a floor of 4e-5 (5e-4 for `fast`)
            takes, and always in bfloat16.
        check: raise if x has a NaN or an Inf (reads one flag on the host).
        name: what to call x in that error.

    Returns:
        A tensor of x's shape and dtype. No singular value exceeds 1 by more than rounding.

    Raises:
        TypeError: x is not a real floating-point tensor.
        ValueError: x is no matrix, the precision is unknown, or x is not finite and `check` is on.
    """
    dtype = check_matrix(x, precision, check, name)
    if x.shape[-2] < x.shape[-1]:
        return msign(x.mT, precision).mT
    unit = _unit(x, dtype)
    found = None if precision == "exact" else _quickest_sign(unit, precision, _GENERAL)
    return (_full_sign(unit, _GENERAL) if found is None else found).to(x.dtype)


def msign_skew(
    x: Float[Tensor, "*b n n"],
    precision: Precision = "exact",
    *,
    check: bool = False,
    name: str = "x",
) -> Float[Tensor, "*b n n"]:
    """msign of a skew-symmetric x, itself skew-symmetric to the last bit. Arguments and errors as for `msign`.

    msign maps skew matrices to skew ones; only rounding leaves that space, and it is taken out at the end. All products
    on the way are symmetric or skew, too, and need less than the work of general ones.
    """
    dtype = check_matrix(x, precision, check, name)
    unit = _unit(x, dtype)
    found = None if precision == "exact" else _quickest_sign(unit, precision, _SKEW)
    return skew(_full_sign(unit, _SKEW) if found is None else found).to(x.dtype)


def nearly_msign_skew(
    x: Float[Tensor, "*b n n"],
    precision: Precision,
    size: Float[Tensor, "*b"] | None = None,
    inverse_squares: Float[Tensor, "*b"] | None = None,
    spent: float = 0.0,
    gap: float | None = None,
) -> Float[Tensor, "*b n n"] | None:
    """`msign_skew` as far as a direction needs it: <x, y> >= (1 - gap) ||x||_nuclear with the gap of `precision`.

    For `exact` in float32, with singular values too small to matter left between 0 and 1. For the others in bfloat16,
    but for the first quintic of an x in float32, and returned so, or None where that cannot promise the gap.

    Args:
        x: skew-symmetric matrices, of a scale at which squares neither over- nor underflow; overwritten.
        precision: what is promised.
        size: Frobenius norm of what an x in bfloat16 was computed from, if not of x: it has left its rounding there.
        inverse_squares: the sum of 1 / s^2 over the singular values s of x, if that is known: a better guess of how
            many products are needed.
        spent: share of the gap that x itself may have lost already.
        gap: another than that of `precision`.
    """
    gap = (1 - spent) * (GAP[precision] if gap is None else gap)
    if precision != "exact":
        found = _quick_sign(x, precision, gap, _SKEW, size, inverse_squares, scratch=True)
        return None if found is None else _skewed(found)
    if x.dtype == torch.float64 or x.shape[-1] < SMALL or not readable(x):
        return msign_skew(x)
    tolerance, margin = 2e-5, 1e-3
    budget = gap - tolerance
    start = _Start.of(x, _SKEW, scratch=True)
    floor, steps = start.schedule(budget, tolerance, margin, inverse_squares)
    unit, y = start.x, _compose(start, steps, _SKEW)
    del start  # and with it what was used up
    if not _at_most(budget, _unresolved(y, floor, _inner(unit, y))):
        y = _apply(y, (*schedule(FLOAT32[0] / floor, (FLOAT32[1] / 7.5) ** 0.5), REJECT), _SKEW)
    return _skewed(y)


def msign_of_length(x: Float[Tensor, "*b m n"], length: int) -> Float[Tensor, "*b m n"]:
    """msign by that many quintics in bfloat16, whatever x is: as in published code, which asks for no gap.

    Args:
        x: real floating-point matrices in the last two axes, of any scale.
        length: at least 3.
    """
    if x.shape[-2] < x.shape[-1]:
        return msign_of_length(x.mT, length).mT
    unit = _unit(x, working_dtype(x.dtype)).bfloat16()
    return _fixed_sign(unit, schedule_of_length(length, 2e-3, 0.01).steps, _GENERAL).to(x.dtype)


def newton_schulz_polish(x: Float[Tensor, "*b m n"], gram_error: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b m n"]:
    """One quintic Newton-Schulz step for a tall x with x^T x = I + gram_error: x (I - E/2 + 3 E^2/8).

    Written as a correction to x, so that an x already orthonormal is not rounded again. Leaves 5/16 |E|^3. Uses up
    gram_error.
    """
    space = gram_error if x.shape == gram_error.shape else None
    return add_product(x, x, symmetric_quadratic(gram_error, -0.5, 0.375), space=space)


def _quick_sign(
    x: Float[Tensor, "*b m n"],
    precision: Precision,
    gap: float,
    kind: _Kind,
    size: Float[Tensor, "*b"] | None = None,
    inverse_squares: Float[Tensor, "*b"] | None = None,
    scratch: bool = False,
) -> Float[Tensor, "*b m n"] | None:
    """msign of a tall x, in bfloat16; None where that cannot promise the gap. Uses up an x that is only `scratch`.

    An x in float32 has its first quintic in float32: for where bfloat16 alone is likely, or found, to be too coarse.
    """
    if x.dtype != torch.bfloat16:
        return _rough_sign(_Start.of(x, kind, scratch), None, gap, kind, inverse_squares)
    norm = torch.linalg.vector_norm(x, dim=(-2, -1), dtype=torch.float32) if size is None else size
    start = _Start.of(x, kind, scratch)
    if not readable(x):
        length = 9 if precision == "balanced" else 7
        return _compose(start, schedule_of_length(length, TOLERANCE, MARGIN).steps, kind)
    likely = LIKELY * x.shape[-1] / (2 * start.spread)
    if not _at_most(gap, _rounding(norm / start.bound, likely, x.shape[-1])):
        return None
    return _rough_sign(start, norm / start.bound, gap, kind, inverse_squares)


def _quickest_sign(unit: Float[Tensor, "*b m n"], precision: Precision, kind: _Kind) -> Float[Tensor, "*b m n"] | None:
    """In bfloat16, with its first quintic in float32 if need be, or None."""
    found = _quick_sign(unit.bfloat16(), precision, GAP[precision], kind, scratch=True)
    if found is None and unit.dtype == torch.float32:
        found = _quick_sign(unit, precision, GAP[precision], kind)
    return found


def _full_sign(x: Float[Tensor, "*b m n"], kind: _Kind) -> Float[Tensor, "*b m n"]:
    """msign of a tall x with entries of at most 1, as exactly as its dtype allows."""
    floor, tolerance = FLOAT64 if x.dtype == torch.float64 else FLOAT32
    return _fixed_sign(x, (*schedule(floor, (tolerance / 7.5) ** 0.5), REJECT), kind)


def _fixed_sign(x: Float[Tensor, "*b m n"], steps: tuple[Quintic, ...], kind: _Kind) -> Float[Tensor, "*b m n"]:
    """Apply odd quintics in turn to the singular values of a tall x with entries of at most 1."""
    gram = kind.gram(x, None)
    # ||x^T x||_F^(1/2), the Schatten-4 norm, is at most n^(1/4) times the spectral norm, and the Gram is needed anyway
    bound = torch.linalg.matrix_norm(gram.to(_wide(gram))).sqrt()
    bound = bound.masked_fill(bound == 0, 1.0)
    x, gram = x / _as(bound, x), gram / _as(bound**2, gram)
    a, b, c = steps[0]
    return _apply(kind.step(x, symmetric_quadratic(gram, b, c), a, None), steps[1:], kind)


class _Start(NamedTuple):
    """x, x^T x and its square, for an x divided by the eighth root of ||(x^T x)^2||_F^2, its Schatten-8 norm.

    That bounds the largest singular value, for n equal ones n^(1/8)-fold, and costs nothing: the first step needs both
    matrices.
    """

    x: Float[Tensor, "*b m n"]
    gram: Float[Tensor, "*b n n"]
    square: Float[Tensor, "*b n n"]
    bound: Float[Tensor, "*b"]
    """What x was divided by."""
    spread: Float[Tensor, "*b"]
    """n ||x||_8 ||x||_4^2 / (2 ||x||_2^3) in Schatten norms: a floor of 1 over this loses next to nothing.

    ||x||_2^3 / ||x||_4^2 is at most the nuclear norm (Hoelder), and n / 2 times the floor bounds what is lost."""

    @classmethod
    def of(cls, x: Float[Tensor, "*b m n"], kind: _Kind, scratch: bool) -> "_Start":
        """Of a tall x, which may be overwritten if it is only `scratch`."""
        gram = kind.gram(x, None)
        # divided by ||x||_F^2, as squares of squares could overflow
        trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1, dtype=_wide(x))
        trace = trace.masked_fill(trace == 0, 1.0)
        gram = _divided(gram, trace)
        square = symmetric_square(gram)
        fourth = _inner(gram, gram).sqrt()
        eighth = _inner(square, square) ** (1 / 8)
        eighth = eighth.masked_fill(eighth == 0, 1.0)
        bound = trace.sqrt() * eighth
        spread = x.shape[-1] * eighth * fourth / 2
        x = _divided(x, bound) if scratch else x / _as(bound, x)
        return cls(x, _divided(gram, eighth**2), _divided(square, eighth**4), bound, spread)

    def schedule(
        self, gap: float, tolerance: float, margin: float, inverse_squares: Float[Tensor, "*b"] | None
    ) -> Schedule:
        """The shortest that is likely to lose less than `gap`, by rules of thumb.

        Spectra have fewer values the smaller they are, so that what is lost falls like the square of the floor at
        least. Where the sum of 1 / s^2 is known, no more than floor^2 times that are below the floor, and what they
        lose falls like its cube.
        """
        spread, cubic = (float(guess.max()) if guess.numel() else 0.0 for guess in self._guesses(inverse_squares))
        for length in LENGTHS:
            found = schedule_of_length(length, tolerance, margin)
            if (found.floor * spread) ** 2 <= 4 * gap or found.floor**3 * cubic <= 60 * gap:
                break
        return found

    def _guesses(self, inverse_squares: Float[Tensor, "*b"] | None) -> tuple[Tensor, Tensor]:
        """`spread`, and what the floor's cube is to be multiplied with."""
        if inverse_squares is None:
            return self.spread, torch.full_like(self.spread, torch.inf)
        return self.spread, self.spread * inverse_squares * self.bound**2 / (2 * self.x.shape[-1])


def _rough_sign(
    start: _Start,
    norm: Float[Tensor, "*b"] | None,
    gap: float,
    kind: _Kind,
    inverse_squares: Float[Tensor, "*b"] | None,
) -> Float[Tensor, "*b m n"] | None:
    """msign of `start`, which is used up, in bfloat16, or None; where that is float32, its first quintic in float32.

    Where a few large singular values make noise among many small ones, that quintic brings them closer together: of
    what rounding then costs of small ones, which grow by its slope at 0, they lose that much less themselves.

    Args:
        start: in bfloat16 or float32.
        norm: of what was rounded to bfloat16, in units of `start`; None in float32.
        gap, kind, inverse_squares: as for `_quick_sign`.
    """
    floor, steps = start.schedule(gap, TOLERANCE, MARGIN, inverse_squares)
    unit, n, slope = start.x, start.x.shape[-1], 1.0
    if norm is None:
        y = _compose(start, steps[:1], kind)
        norm, slope, steps = torch.linalg.matrix_norm(y), steps[0][0], steps[1:]
        y = _apply(y.bfloat16(), steps, kind)
    else:
        y = _compose(start, steps, kind)
    del start  # and with it what was used up
    while True:
        value = _inner(unit, y)
        rounding = _rounding(norm / slope, value, n)
        if _at_most(gap, rounding + _unresolved(y, floor, value)):
            return y
        if floor < BFLOAT16_FLOOR or not _at_most(gap, rounding):
            return None
        more = schedule_of_length(LENGTHS[0], TOLERANCE, MARGIN)
        floor *= more.floor
        y = _apply(y, more.steps, kind)


def _compose(start: _Start, steps: tuple[Quintic, ...], kind: _Kind) -> Float[Tensor, "*b m n"]:
    """The same, of an x that has been looked at. Uses up the matrices of `start` but x."""
    a, b, c = steps[0]
    quadratic = start.square.mul_(c).add_(start.gram, alpha=b)
    if start.x.shape == start.gram.shape:
        return _apply(kind.step(start.x, quadratic, a, start.gram), steps[1:], kind, None, quadratic)
    return _apply(kind.step(start.x, quadratic, a, None), steps[1:], kind, start.gram, quadratic)


def _apply(
    x: Float[Tensor, "*b m n"],
    steps: tuple[Quintic, ...],
    kind: _Kind,
    gram: Float[Tensor, "*b n n"] | None = None,
    quadratic: Float[Tensor, "*b n n"] | None = None,
) -> Float[Tensor, "*b m n"]:
    """The same, of an x that is used up; the other matrices are space to work in."""
    if 0 < x.numel() < SHORT:
        return _apply_shortly(x, steps)
    space, square = None, x.shape[-2] == x.shape[-1]
    for a, b, c in steps:
        gram = kind.gram(x, gram)
        quadratic = symmetric_quadratic(gram, b, c, quadratic)
        if square:  # three matrices in turns do for four
            x, gram = kind.step(x, quadratic, a, gram), x
        else:
            x, space = kind.step(x, quadratic, a, space), x
    return x


def _apply_shortly(x: Float[Tensor, "*b m n"], steps: tuple[Quintic, ...]) -> Float[Tensor, "*b m n"]:
    """The same, in three calls a step: all that small matrices cost."""
    y = x.reshape(-1, *x.shape[-2:])
    for a, b, c in steps:
        gram = y.mT @ y
        y = torch.baddbmm(y, y, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), beta=a)
    return y.reshape(x.shape)


def _general_step(
    x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b n n"], a: float, space: Float[Tensor, "*b m n"] | None
) -> Float[Tensor, "*b m n"]:
    return add_product(x, x, y, beta=a, space=space)


_GENERAL = _Kind(lambda x, space: symmetric_product(x, x, space), _general_step)

_SKEW = _Kind(skew_gram, skew_product)


def _skewed(y: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """A result of `skew_product` without its rounding, of which products in bands have none."""
    return y if bands(y) else skew(y)


def _unresolved(y: Float[Tensor, "*b m n"], floor: float, value: Float[Tensor, "*b"]) -> Tensor:
    """Bound on the nuclear norm that singular values below `floor` hide, over `value`.

    Such a value s has ended as some p >= s / floor. It lacks s (1 - p) <= floor p (1 - p) <= floor (1 - p^2) / 2, and
    the sum of 1 - p^2 is n - ||y||_F^2, where rounding may have put others above 1. Those above the floor lack no more
    than the schedule's tolerance.
    """
    missing = ((1 + torch.finfo(y.dtype).eps) * y.shape[-1] - _inner(y, y)).clamp(min=0)
    return _over(floor / 2 * missing, value)


def _rounding(norm: Float[Tensor, "*b"], value: Float[Tensor, "*b"], n: int) -> Tensor:
    """What the rounding of bfloat16, and the schedule's tolerance, cost of `value`, for an x of this Frobenius norm.

    eps (1/2 + sqrt(n) ||x||_F / (8 ||x||_nuclear)), up to twice what was measured on flat, random, power-law,
    exponential and two-level spectra: about eps / 2 of any matrix, and of those with a few large singular values among
    many small ones, in which it makes noise, some more.
    """
    eps = torch.finfo(torch.bfloat16).eps
    return eps / 2 + _over(eps / 8 * n**0.5 * norm, value)


def _over(x: Tensor, value: Tensor) -> Tensor:
    """x / value; 0 where both are, and infinite where x alone is not."""
    return (x / value.clamp(min=0)).masked_fill(x == 0, 0.0)


def _at_most(bound: float, x: Tensor) -> bool:
    """Whether all are, a NaN in the input passing for one: more effort would not help it."""
    return not bool((x > bound).any())


def _inner(x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
    """<x, y>. Products in bfloat16 round up as often as down, and are summed in float32."""
    if x.numel() <= PIECE or not readable(x):
        return (x * y).sum((-2, -1), dtype=_wide(x))
    rows = max(1, PIECE * x.shape[-2] // x.numel())
    pieces = zip(torch.split(x, rows, -2), torch.split(y, rows, -2), strict=True)
    return torch.stack([(a * b).sum((-2, -1), dtype=_wide(x)) for a, b in pieces]).sum(0)


def _wide(x: Tensor) -> torch.dtype:
    return torch.float32 if x.dtype == torch.bfloat16 else x.dtype


def _unit(x: Float[Tensor, "*b m n"], dtype: torch.dtype) -> Float[Tensor, "*b m n"]:
    """A copy with entries of at most 1."""
    wide = x.to(dtype)
    return wide / largest_entry(wide)


def _divided(x: Float[Tensor, "*b m n"], scale: Float[Tensor, "*b"]) -> Float[Tensor, "*b m n"]:
    """x / scale, in place unless autograd looks."""
    return x / _as(scale, x) if recorded(x) else x.div_(_as(scale, x))


def _as(scale: Float[Tensor, "*b"], x: Float[Tensor, "*b m n"]) -> Tensor:
    return scale[..., None, None].to(x.dtype)

"""Nearest points of l_p balls, for norms that are l_p norms of singular values."""

import torch
from jaxtyping import Float
from torch import Tensor

_OUTER = 12
_INNER = 4


def to_l1_ball(s: Float[Tensor, "*b k"]) -> Float[Tensor, "*b k"]:
    """The nearest vector of sum at most 1 to a nonnegative one: max(s - t, 0) (Duchi et al. 2008, figure 1)."""
    if s.shape[-1] == 0:
        return s
    ordered = s.sort(-1, descending=True).values
    count = torch.arange(1, s.shape[-1] + 1, dtype=s.dtype, device=s.device)
    thresholds = (ordered.cumsum(-1) - 1) / count
    place = (ordered > thresholds).sum(-1, keepdim=True).clamp(min=1) - 1
    return (s - thresholds.gather(-1, place).clamp(min=0)).clamp(min=0)


def to_lp_ball(s: Float[Tensor, "*b k"], p: float) -> Float[Tensor, "*b k"]:
    """The nearest vector of l_p norm at most 1 to a nonnegative one, for 1 < p < inf.

    Stationarity is x + lambda x^(p-1) = s. In logarithms both equations, for every x_i given lambda and for lambda
    given ||x||_p = 1, are of functions that bend one way only, on which Newton's method converges from the side it
    starts on.
    """
    log_s = s.log()
    size = torch.logsumexp(p * log_s, -1, keepdim=True) / p
    outside = size > 0
    # from x <= (s / lambda)^(1 / (p - 1)): beyond the root, where ||x||_p <= 1
    log_t = (p - 1) * torch.logsumexp(p / (p - 1) * log_s, -1, keepdim=True) / p
    log_t = torch.where(outside, log_t, 0.0)
    log_x = log_s
    for _ in range(_OUTER):
        log_x = torch.minimum(log_s, (log_s - log_t) / (p - 1))
        for _ in range(_INNER):
            total = torch.logaddexp(log_x, log_t + (p - 1) * log_x)
            share = (log_t + (p - 1) * log_x - total).exp()
            log_x = (log_x - (total - log_s) / (1 + (p - 2) * share)).nan_to_num(nan=-torch.inf)
        share = (log_t + (p - 1) * log_x - torch.logaddexp(log_x, log_t + (p - 1) * log_x)).exp()
        excess = torch.logsumexp(p * log_x, -1, keepdim=True) / p
        weights = torch.softmax(p * log_x, -1)
        slope = -(weights * (share / (1 + (p - 2) * share)).nan_to_num()).sum(-1, keepdim=True)
        log_t = torch.where(outside, log_t - excess / slope, log_t).nan_to_num()
    x = log_x.exp()
    x = x / x.pow(p).sum(-1, keepdim=True).pow(1 / p).clamp(min=1.0)
    return torch.where(outside, x, s)

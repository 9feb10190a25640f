"""When a number may be looked at on the host, and when memory may be used again."""

import torch
from torch import Tensor


def readable(x: Tensor) -> bool:
    """Whether numbers computed from x can be read without making anything wait, and may steer what is done next.

    Not on accelerators, and not in a graph that is being compiled.
    """
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def multiplies_tiles(x: Tensor) -> bool:
    """Whether x is in bfloat16 on a CPU with units for products of tiles (AMX).

    These are so fast that saving work by halves, or reading a factor by columns, costs more than a whole product.
    """
    return x.dtype == torch.bfloat16 and x.device.type == "cpu" and torch.cpu._is_amx_tile_supported()


def recorded(x: Tensor) -> bool:
    """Whether autograd records what is done to x, which must then not be overwritten."""
    return x.requires_grad and torch.is_grad_enabled()

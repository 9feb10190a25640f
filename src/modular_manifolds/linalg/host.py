"""When a number may be looked at on the host."""

import torch
from torch import Tensor


def readable(x: Tensor) -> bool:
    """Whether numbers computed from x can be read without making anything wait, and may steer what is done next.

    Not on accelerators, and not in a graph that is being compiled.
    """
    return x.device.type == "cpu" and not torch.compiler.is_compiling()

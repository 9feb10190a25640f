"""How many samples a classifier provably keeps, whatever small change is made to them.

Source: Tsuzuku, Sato & Sugiyama, "Lipschitz-margin training" (NeurIPS 2018), section 3.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from modular_manifolds.modular import certify

# The few operations between a margin and a radius lose 2^-53 each.
_SLACK = 1 + 2.0**-49

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class CertifiedAccuracy(Mapping[float, float]):
    """Shares of all samples, from 0 to 1, by radius: a mapping that also remembers what it rests on."""

    radii: tuple[float, ...]
    shares: tuple[float, ...]
    lipschitz: float
    samples: int

    def __getitem__(self, radius: float) -> float:
        """The share of samples certified at one of the `radii`."""
        return dict(zip(self.radii, self.shares, strict=True))[radius]

    def __iter__(self) -> Iterator[float]:
        """The radii, in the order in which they were asked for."""
        return iter(self.radii)

    def __len__(self) -> int:
        """How many radii there are."""
        return len(self.radii)


def certified_accuracy(
    model: nn.Module,
    data: Batch | Iterable[Batch],
    radii: Iterable[float],
    *,
    lipschitz: float | None = None,
    batch_size: int = 1024,
) -> CertifiedAccuracy:
    """The share of samples classified correctly, and certain to stay so under every change up to a radius.

    A sample counts if its margin exceeds sqrt(2) L radius, the margin being the logit of its label minus the largest
    other one. Radius 0 gives the plain accuracy; ties count as wrong.

    What is proved, given that L is: no change to the input of Euclidean length at most `radius` alters the decision of
    the network as evaluated in exact arithmetic. Logits are taken as the model computes them, so samples within the
    rounding error of a forward pass from their threshold are uncertain: about 1e-6 of a logit in float32. A model and
    inputs in float64 leave 1e-15.

    Args:
        model: maps inputs (batch, ...) to logits (batch, classes); evaluated in eval mode and left in its own.
        data: inputs and integer labels (batch,), as two tensors or batch by batch; moved to the model's device.
        radii: in units of the model's input: the length of the change to all of a sample's numbers together.
        lipschitz: a constant L of the model, from Euclidean lengths of inputs to Euclidean lengths of logits. By
            default `certify(model, ...).lipschitz`; networks that are Lipschitz only where their inputs are bounded
            need a `certify` with that domain, whose constant is passed here.
        batch_size: samples evaluated at once when `data` is two tensors.

    Raises:
        ValueError: no samples or radii, a negative radius, a batch size below 1, a label out of range, logits that are
            not finite, or a Lipschitz constant that is infinite or no number.
    """
    asked = tuple(dict.fromkeys(float(radius) for radius in radii))
    if not asked or not all(0 <= radius < math.inf for radius in asked):
        raise ValueError(f"radii must be one or more finite numbers of at least 0, got {asked}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    thresholds = torch.tensor(asked, dtype=torch.float64)
    counts, samples = torch.zeros(len(asked), dtype=torch.int64), 0
    with _evaluating(model):
        for inputs, labels in _batches(data, batch_size, model):
            if lipschitz is None:
                lipschitz = certify(model, (inputs,)).lipschitz
            counts += (certified_radii(model(inputs), labels, lipschitz)[:, None] > thresholds).sum(0)
            samples += len(labels)
    if samples == 0 or lipschitz is None:
        raise ValueError("data has no samples; give it at least one (an iterator can be read only once)")
    return CertifiedAccuracy(asked, tuple((counts / samples).tolist()), lipschitz, samples)


@torch.no_grad()
def certified_radii(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], lipschitz: float
) -> Float[Tensor, " batch"]:
    """How far every sample can be moved without changing its decision, at least: margin / (sqrt(2) L).

    The difference of two logits is sqrt(2) L-Lipschitz. Negative where the label is not the decision.

    Returns:
        float64, on the CPU, in units of the model's input; positive ones are no larger than the exact quotients.

    Raises:
        ValueError: a label out of range, logits that are not finite, shapes that do not match, or a Lipschitz constant
            that is infinite or no number of at least 0.
    """
    if lipschitz == math.inf:
        raise ValueError(
            "lipschitz is inf: the model has no finite constant, so no change to an input is certain to be harmless. "
            "Some operations are Lipschitz only on bounded inputs: certify the model with a domain and pass the result"
        )
    if not lipschitz >= 0:
        raise ValueError(f"lipschitz must be a number of at least 0, got {lipschitz}")
    margins = margin(logits.to("cpu", torch.float64), labels.cpu())
    return (margins / (math.sqrt(2) * lipschitz * _SLACK)).masked_fill(margins == 0, 0.0)


def margin(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """The logit of the label minus the largest other one: positive where the decision is right.

    Raises:
        ValueError: a label out of range, logits that are not finite, or shapes that do not match.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or logits.shape[1] < 2:
        raise ValueError(
            f"expected logits (batch, classes) of at least 2 classes with labels (batch,), got {tuple(logits.shape)} "
            f"with {tuple(labels.shape)}; a single sample needs a batch axis"
        )
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"labels must be integers, got {labels.dtype}")
    classes = logits.shape[1]
    if bool(((labels < 0) | (labels >= classes)).any()):
        raise ValueError(f"labels run from {int(labels.min())} to {int(labels.max())}, expected 0 to {classes - 1}")
    if not bool(torch.isfinite(logits).all()):
        raise ValueError("the model's logits have non-finite entries; check its weights and inputs for NaN and Inf")
    index = labels.long()[:, None]
    others = logits.scatter(1, index, -torch.inf).amax(1)
    return logits.gather(1, index)[:, 0] - others


def _batches(data: Batch | Iterable[Batch], batch_size: int, model: nn.Module) -> Iterator[Batch]:
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), None)
    match data:
        case [Tensor() as inputs, Tensor() as labels]:
            if len(inputs) != len(labels):
                raise ValueError(f"data has {len(inputs)} inputs and {len(labels)} labels, expected as many")
            data = zip(torch.split(inputs, batch_size), torch.split(labels, batch_size), strict=True)
    for inputs, labels in data:
        if labels.numel():
            yield inputs.to(device), labels


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients inside, and every module's own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode

"""Muon with float32 products."""

import torch

from benchmarks.muon_fp32 import Float32Muon


def test_float32_muon_steps_like_torch_muon() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in [(24, 12), (12, 24)]:
        start = torch.randn(shape, generator=generator)
        weights = [torch.nn.Parameter(start.clone()) for _ in range(2)]
        optimizers = [torch.optim.Muon([weights[0]], lr=0.1), Float32Muon([weights[1]], lr=0.1)]
        for _ in range(3):
            gradient = torch.randn(shape, generator=generator)
            for weight, optimizer in zip(weights, optimizers, strict=True):
                weight.grad = gradient
                optimizer.step()
        assert torch.allclose(weights[0], weights[1], atol=5e-3)
        assert not torch.allclose(weights[0], start, atol=0.05)

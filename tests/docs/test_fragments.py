"""Blocks that are fragments run too, each given the names that it takes for granted."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

import modular_manifolds as mm
from tests.docs.test_pages import PAGES, ROOT, blocks

PLANS = "docs/modular.md"
FIRST, SAYING_OTHERWISE, DECLARED, ALGEBRA = range(4)


@torch.library.custom_op("mylib::gate", mutates_args=())
def gate(x: Tensor) -> Tensor:
    return x / 2


@gate.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class MyModule(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Linear(8, 8, bias=False)
        self.norm = nn.GroupNorm(2, 8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mylib.gate(self.norm(self.mlp(x)))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def run(page: str, block: int, **names: Any) -> dict[str, Any]:
    names = {"mm": mm, "nn": nn, "torch": torch, **names}
    exec(blocks(page)[block], names)
    return names


def test_the_first_block() -> None:
    assert isinstance(run(PLANS, FIRST)["optimizer"], mm.ModularOptimizer)


def test_saying_otherwise() -> None:
    plan = run(PLANS, SAYING_OTHERWISE, model=Model(), inputs=(torch.randn(1, 8),), MyModule=MyModule)["plan"]
    entries = plan.entries
    assert sum(entry.mass for name, entry in entries.items() if name.startswith("blocks")) == pytest.approx(5)
    assert entries["blocks.0.mlp.weight"].geometry == mm.Geometry(mm.SpectralSphere(), mm.Spectral())
    assert entries["head.bias"].mass == 0
    assert mm.certify(MyModule(), (torch.randn(1, 8),)).lipschitz == pytest.approx(0.5)


def test_a_declared_sensitivity() -> None:
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=16, n_positions=8, n_embd=8, n_layer=2, n_head=2))
    plan = run(PLANS, DECLARED, gpt2=gpt2.eval(), tokens=torch.zeros(1, 8, dtype=torch.long))["plan"]
    first, last = (plan.entries[f"transformer.h.{i}.mlp.c_fc.weight"] for i in range(2))
    assert first.budget == last.budget


def test_the_algebra() -> None:
    net = run(PLANS, ALGEBRA)["net"]
    assert net.budgets()


def test_certified_accuracy() -> None:
    model, batch = nn.Linear(8, 3), (torch.randn(5, 8), torch.zeros(5, dtype=torch.long))
    result = run("docs/robustness.md", 0, model=model, test_loader=[batch])["result"]
    assert result.radii == (0, 36 / 255)


def test_softening() -> None:
    layer = nn.Linear(8, 8)
    run("docs/soft-constraint.md", 0, layer=layer)
    assert nn.utils.parametrize.is_parametrized(layer, "weight")


def test_gauges() -> None:
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Linear(6, 3, bias=False))
    x = torch.randn(2, 4)
    before = model(x)
    run("docs/symmetry.md", 0, model=model, inputs=(x,))
    assert torch.allclose(model(x), before, atol=1e-5)


def test_every_page_with_code_is_tested() -> None:
    fragments = {PLANS: 4, "docs/robustness.md": 1, "docs/soft-constraint.md": 1, "docs/symmetry.md": 1}
    for page in ROOT.glob("docs/*.md"):
        name = page.relative_to(ROOT).as_posix()
        if name not in (*PAGES, "docs/distributed.md"):  # the latter needs four ranks: tests/distributed/test_docs.py
            assert len(blocks(name)) == fragments.get(name, 0), name

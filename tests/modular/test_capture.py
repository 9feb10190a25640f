"""What can be captured, what is refused, and that a refusal says why."""

import pytest
import torch
from torch import Tensor, nn

import modular_manifolds as mm
from modular_manifolds.modular.fuse import fuse
from modular_manifolds.modular.graph import capture
from tests.modular import models
from tests.modular.attacks import Do, draw

X = draw(2, 4, 6)


def ops(function, *inputs: Tensor) -> list[str]:
    graph = fuse(capture(Do(function), inputs or (X,)))
    return [node.op for node in graph.nodes if node.op != "input"]


def test_control_flow_by_values_is_refused_with_the_reason():
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(mm.modular.CaptureError, match=r"Branching(.|\n)*(data|control flow|guard|symbolic)"):
        mm.certify(Branching(), (X,))
    with pytest.raises(mm.modular.CaptureError, match="no control flow by values"):
        mm.modularize(nn.Sequential(nn.Linear(6, 6).double(), Branching()), (X,))


def test_an_error_of_the_model_is_passed_on():
    with pytest.raises(mm.modular.CaptureError, match="same reduction dim"):
        mm.certify(nn.Linear(5, 5).double(), (X,))


def test_inputs_are_a_tuple():
    with pytest.raises(TypeError, match=r"write \(x,\)"):
        mm.certify(nn.Linear(6, 6), X)


def test_tied_parameters_are_one_node():
    graph = capture(models.GPT(tied=True), (torch.zeros(2, 3, dtype=torch.int64),))
    assert [node.name for node in graph.parameters].count("embed.weight") == 1
    assert "unembed.weight" not in [node.name for node in graph.parameters]


def test_frozen_parameters_and_buffers_are_constants():
    model = nn.Linear(6, 6).double()
    model.weight.requires_grad_(False)
    graph = capture(model, (X,))
    assert [node.name for node in graph.parameters] == ["bias"]


def test_pieces_become_parts():
    assert ops(lambda x: x.split(2, -1)[1]) == ["aten.narrow"]
    assert ops(lambda x: x.unbind(1)[3]) == ["aten.select"]
    graph = capture(Do(lambda x: x.split([1, 5], -1)[1]), (X,))
    assert graph.nodes[-1].args[1:] == (2, 1, 5)


def test_what_is_one_thing_becomes_one_node():
    assert ops(lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)) == ["fused.rms_norm"]
    assert ops(lambda x: x / (x * x).mean((1, 2), keepdim=True).add(0.1).sqrt()) == ["fused.rms_norm"]
    assert ops(lambda x: torch.nn.functional.normalize(x, dim=-1)) == ["fused.floored_rms_norm"]
    assert ops(models.turned)[-1] == "fused.rotary"
    tanh = lambda x: 0.5 * x * (1.0 + torch.tanh(0.7978845608028654 * (x + 0.044715 * torch.pow(x, 3.0))))  # noqa: E731
    assert ops(tanh) == ["aten.gelu"]


@pytest.mark.parametrize(
    "almost",
    [
        lambda x: x * torch.rsqrt(x.flip(0).pow(2).mean(-1, keepdim=True) + 1e-5),
        lambda x: x * torch.rsqrt(x.pow(4).mean(-1, keepdim=True) + 1e-5),
        lambda x: x / x.flip(1).square().mean(-1, keepdim=True).sqrt().clamp_min(1.0),
        lambda x: x / torch.linalg.vector_norm(x, 1, dim=-1, keepdim=True).clamp_min(1.0),
        lambda x: 0.5 * x * (1.0 + torch.tanh(0.7978845608028654 * (x + 0.05 * torch.pow(x, 3.0)))),
        lambda x: 0.5 * x * (1.0 + torch.tanh(0.7978845608028654 * (x.flip(0) + 0.044715 * torch.pow(x, 3.0)))),
        lambda x: x * x[..., :3].repeat(1, 1, 2),
    ],
)
def test_what_only_looks_alike_is_not_fused(almost):
    assert not {"fused.rms_norm", "fused.floored_rms_norm", "fused.rotary", "aten.gelu"} & set(ops(almost))


def test_the_gain_of_a_rotary_embedding():
    graph = fuse(capture(Do(models.turned), (X,)))
    assert graph.nodes[-1].extra["gain"] == pytest.approx(1)
    graph = fuse(capture(Do(lambda x: torch.cat([x[..., :3] + 2 * x[..., 3:], 0 * x[..., 3:]], -1)), (X,)))
    assert graph.nodes[-1].extra["gain"] >= 5**0.5


def test_a_rule_for_a_module_replaces_what_is_known_of_it():
    model = nn.Sequential(nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 6), nn.ReLU()), nn.Linear(6, 6)).double()
    certificate = mm.certify(model, (X,), rules={"1": mm.Rule(sensitivity=0.5, proved=True)})
    ends = [mm.certify(model[i], (X,)).lipschitz for i in (0, 2)]
    assert certificate.lipschitz_rms == pytest.approx(0.5 * ends[0] * ends[1])
    assert certificate.proved
    assert not mm.certify(model, (X,), rules={"1": mm.Rule(sensitivity=0.5)}).proved


def test_a_rule_for_a_module_that_is_called_twice():
    inner = nn.ReLU()

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(self.inner(x) - 1)

    certificate = mm.certify(Twice(), (X,), rules={"inner": mm.Rule(sensitivity=0.5)})
    assert certificate.lipschitz_rms == pytest.approx(0.25)
    assert not certificate.proved


def test_a_rule_needs_a_module_with_one_output():
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x + 1, 2 * x

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair()

        def forward(self, x: Tensor) -> Tensor:
            a, b = self.pair(x)
            return a + b

    with pytest.raises(mm.modular.CaptureError, match="2 outputs"):
        mm.certify(Both(), (X,), rules={"pair": mm.Rule(sensitivity=1.0)})


def test_a_projection_of_constants_is_a_constant():
    certificate = mm.certify(Do(lambda x, w: x + torch.ones(4, 6, dtype=torch.float64) @ w, (6, 6)), (X,), 1.0)
    assert certificate.lipschitz == pytest.approx(1)


def test_nothing_is_proved_of_weights_that_are_not_numbers():
    model = nn.Linear(6, 6).double()
    with torch.no_grad():
        model.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        mm.certify(model, (X,))


def test_a_declared_module_does_not_hide_its_tokens_and_tables():
    """What is declared is of activations: tokens and tables inside of such a module are felt as before."""

    class Tables(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(5, 4)
            self.front = nn.Parameter(torch.randn(1, 1, 4))

        def forward(self, tokens: Tensor) -> Tensor:
            x = self.embed(tokens)
            return torch.cat([self.front.expand(len(x), -1, -1), x], 1)

    model = nn.Sequential(Tables(), nn.Linear(4, 3, bias=False))
    tokens = torch.zeros(2, 3, dtype=torch.int64)
    rules = {"0": mm.Rule(sensitivity=0.5)}
    assert mm.certify(model, (tokens,), rules=rules).lipschitz == mm.certify(model, (tokens,)).lipschitz > 0
    declared, free = mm.modularize(model, (tokens,), rules), mm.modularize(model, (tokens,))
    assert declared["0.front"].sensitivity == free["0.front"].sensitivity > 0

"""Plans: budgets of the published transformer, rules, notes, files, and use with the optimizer."""

import json
from math import inf, isfinite

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import modular_manifolds as mm
from modular_manifolds.modular.reading import MODULES
from modular_manifolds.modular.rule import RULES
from tests.modular import models
from tests.modular.attacks import Do, draw

TOKENS = torch.zeros(2, 4, dtype=torch.int64)
PUBLISHED = {
    "embed": 1 / 7,
    "query": 5 / 7,
    "key": 5 / 7,
    "value": 5 / 7,
    "qkv": 5 / 7,
    "output": 5 / 21,
    "up": 5 / 21,
    "down": 5 / 21,
    "unembed": 1 / 7,
}
FEW = (1, 2, 3, 6, 12)


def tiny(depth: int = 2, **options) -> models.GPT:
    return models.GPT(vocab=5, d=4, heads=2, depth=depth, **options)


def planned(model: nn.Module, **options) -> mm.Plan:
    return mm.modularize(model, (TOKENS,), {"blocks": mm.Rule(mass=5), **options.pop("rules", {})}, **options)


def is_published(plan: mm.Plan) -> None:
    for name, entry in plan.items():
        assert entry.budget == pytest.approx(PUBLISHED[name.split(".")[-2]], rel=0, abs=1e-12), name
    assert plan.proved
    assert all(entry.proved for entry in plan.values())
    assert not plan.notes
    assert plan.mass == pytest.approx(7)
    assert plan.stretch <= 1 + 1e-12
    assert plan.sensitivity == pytest.approx(1)


@pytest.mark.parametrize("depth", FEW)
def test_budgets_are_the_published_ones_at_any_depth(depth):
    is_published(planned(tiny(depth)))


@pytest.mark.slow
@pytest.mark.parametrize("depth", [depth for depth in range(1, 49) if depth not in FEW])
def test_budgets_are_the_published_ones_at_every_depth(depth):
    is_published(planned(tiny(depth)))


@pytest.mark.slow
@pytest.mark.parametrize("depth", range(1, 49))
def test_the_graph_and_the_algebra_agree_at_every_depth(depth):
    network = mm.nn.GPT(5, 4, 2, depth)
    plan = mm.modularize(network, (TOKENS,))
    assert {name: entry.budget for name, entry in plan.items()} == network.budgets()
    found = {round(budget, 12) for budget in network.budgets().values()}
    assert found == {round(budget, 12) for budget in PUBLISHED.values()}


@pytest.mark.parametrize("options", [{"fused": True}, {"kv": 1}, {"fused": True, "rotary": True}, {"norm": True}])
def test_variants_have_the_same_budgets(options):
    model = models.GPT(vocab=5, d=8, heads=2, depth=3, **options)
    is_published(planned(model))


def test_a_fused_projection_is_measured_head_by_head():
    entry = planned(tiny(fused=True))["blocks.0.attention.qkv.weight"]
    assert entry.mass == pytest.approx(3 * planned(tiny())["blocks.0.attention.query.weight"].mass)
    assert entry.geometry.norm.heads == 6


def test_blocks_of_a_fused_projection_that_are_felt_differently_get_different_steps():
    class Sharp(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(4, 12, bias=False)

        def forward(self, x):
            q, k, v = (t.unflatten(-1, (2, 2)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
            return F.scaled_dot_product_attention(q, k, v, scale=2.0)

    plan = mm.modularize(Sharp(), (draw(1, 3, 4).float(),))
    weights = [weight for _, weight in plan["qkv.weight"].geometry.norm.parts]
    assert weights[0] == pytest.approx(4 * weights[-1])  # logits of scale 2 x 2
    assert "weighted" in str(plan)


def test_tied_embeddings_add_up_and_the_table_says_so():
    plan, apart = planned(tiny(tied=True)), planned(tiny())
    entry = plan["embed.weight"]
    assert len(entry.uses) == 2
    assert "unembed.weight" not in plan
    assert entry.uses[0].startswith("embedding")
    assert entry.uses[1].startswith("matrix")
    assert apart["embed.weight"].sensitivity == apart["unembed.weight"].sensitivity == pytest.approx(1)
    # a matrix of 5 x 4 of gain 1 has rows of at most sqrt(5 / 4), of which the root mean square is half
    assert entry.sensitivity == pytest.approx(1 + 5**0.5 / 4)
    text = str(plan)
    assert "Used more than once" in text
    assert entry.uses[0] in text
    assert entry.uses[1] in text


def test_a_shared_module_adds_up():
    layer = nn.Linear(4, 4, bias=False)
    plan = mm.modularize(nn.Sequential(layer, nn.ReLU(), layer), (torch.zeros(1, 4),))
    assert plan["0.weight"].sensitivity == pytest.approx(2)
    assert len(plan["0.weight"].uses) == 2


# files


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"bias": True}, {"tied": True}])
def test_a_plan_survives_a_file(options, tmp_path):
    model = tiny(**options)
    plan = planned(model, rules={"unembed.weight": mm.Rule(mass=0)} if not options else {})
    plan.save(tmp_path / "plan.json")
    loaded = mm.Plan.load(tmp_path / "plan.json")
    assert loaded == plan
    assert loaded.to_dict() == plan.to_dict()
    assert str(loaded) == str(plan)
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "plan.json").read_text()
    assert json.loads((tmp_path / "plan.json").read_text())["format"]
    with pytest.raises(RuntimeError, match="bind"):
        loaded.param_groups()
    groups = loaded.bind(model).param_groups()
    assert [len(g["params"]) for g in groups] == [len(g["params"]) for g in plan.param_groups()]


def test_a_plan_binds_to_its_own_kind_of_model_only(tmp_path):
    plan = planned(tiny())
    with pytest.raises(ValueError, match="shape"):
        plan.bind(models.GPT(vocab=6, d=4, heads=2))
    with pytest.raises(ValueError, match="not in the plan"):
        plan.bind(tiny(bias=True))
    with pytest.raises(ValueError, match="has no"):
        plan.bind(tiny(tied=True))
    (tmp_path / "wrong").write_text("{}")
    with pytest.raises(ValueError, match="no plan"):
        mm.Plan.load(tmp_path / "wrong")


# use


def test_norm_is_the_largest_of_the_updates_over_their_budgets():
    model = tiny()
    plan = planned(model)
    update = {name: torch.randn_like(p) for name, p in model.named_parameters()}
    each = {name: float(plan.norm({name: u})) for name, u in update.items()}
    assert float(plan.norm(update)) == max(each.values())
    name = "unembed.weight"
    assert each[name] == pytest.approx(7 * (4 / 5) ** 0.5 * float(torch.linalg.matrix_norm(update[name], 2)), rel=1e-4)
    assert float(plan.norm({n: 3 * u for n, u in update.items()})) == pytest.approx(3 * max(each.values()), rel=1e-5)
    assert float(plan.norm({})) == 0
    with pytest.raises(KeyError):
        plan.norm({"nothing": torch.zeros(1)})
    with pytest.raises(ValueError, match="shape"):
        plan.norm({name: torch.zeros(3)})


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"tied": True}])
def test_a_step_stays_on_the_manifolds_and_is_no_longer_than_the_learning_rate(options):
    model = tiny(**options)
    plan = planned(model)
    plan.project_()
    optimizer = mm.ModularOptimizer(plan, lr=0.05)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    tokens = torch.randint(5, (2, 4))
    # squares would not do: the length of the logits does not depend on an unembedding with equal singular values
    model(tokens).pow(4).sum().backward()
    optimizer.step()
    update = {name: p.detach() - before[name] for name, p in model.named_parameters()}
    assert 0 < float(plan.norm(update)) < 0.05 * 1.1
    for name, p in model.named_parameters():
        assert not torch.equal(p, before[name])
    after = {name: p.detach().clone() for name, p in model.named_parameters()}
    plan.project_()
    for name, p in model.named_parameters():
        assert torch.allclose(p, after[name], atol=1e-5), name


def test_project_puts_weights_on_their_manifolds():
    model = tiny().double()
    plan = planned(model)
    plan.project_()
    w = model.unembed.weight.detach()
    assert torch.allclose(torch.linalg.svdvals(w), torch.full((4,), (5 / 4) ** 0.5, dtype=torch.float64))
    q = model.blocks[0].attention.query.weight.detach().unflatten(0, (2, 2))
    assert torch.allclose(torch.linalg.svdvals(q), torch.full((2, 2), 0.5**0.5, dtype=torch.float64))
    assert torch.allclose(model.embed.weight.detach().square().mean(-1), torch.ones(5, dtype=torch.float64))


def test_the_model_is_left_as_it_was():
    model = tiny()
    model.train()
    model.blocks[0].eval()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    modes = [m.training for m in model.modules()]
    planned(model)
    mm.certify(model, (TOKENS,))
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(p, before[name]) and p.requires_grad for name, p in model.named_parameters())
    assert all(p.grad is None for p in model.parameters())


# rules


def test_masses_by_path_type_and_parameter():
    x = torch.zeros(2, 4)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4, bias=False))
    plan = mm.modularize(model, (x,), {"0": mm.Rule(mass=3), "2.weight": mm.Rule(mass=2)})
    assert plan["0.weight"].mass + plan["0.bias"].mass == pytest.approx(3)
    assert plan["2.weight"].mass == 2
    plan = mm.modularize(model, (x,), {nn.Linear: mm.Rule(mass=4)})
    assert plan["2.weight"].mass == 4
    assert plan["0.weight"].mass + plan["0.bias"].mass == pytest.approx(4)
    plan = mm.modularize(model, (x,), {"*": mm.Rule(mass=4), "2": mm.Rule(mass=1)})
    assert plan["2.weight"].mass == 1  # the later one wins


def test_a_mass_of_zero_freezes():
    model = tiny()
    plan = planned(model, rules={"embed": mm.Rule(mass=0)})
    assert plan["embed.weight"].budget == 0
    assert plan.mass == pytest.approx(6)
    names = [name for group in plan.param_groups() for name, _ in group["params"]]
    assert "embed.weight" not in names
    assert len(names) == len(plan) - 1
    zero = {"embed.weight": torch.zeros(5, 4)}
    assert float(plan.norm(zero)) == 0
    assert float(plan.norm({"embed.weight": torch.ones(5, 4)})) == inf


def test_a_geometry_by_rule():
    geometry = mm.Geometry(mm.manifolds.Euclidean(), mm.norms.Frobenius())
    plan = planned(tiny(), rules={"unembed": mm.Rule(geometry=geometry)})
    assert plan["unembed.weight"].geometry == geometry
    assert plan["unembed.weight"].sensitivity == pytest.approx((4 / 5) ** 0.5)  # of the Frobenius norm's unit ball


def test_a_sensitivity_by_path_is_an_estimate_unless_it_is_said_to_be_proved():
    model, x = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Sequential(nn.Linear(4, 4, bias=False))), torch.zeros(2, 4)
    plan = mm.modularize(model, (x,), {"1": mm.Rule(sensitivity=3.0)})
    assert plan["0.weight"].sensitivity == pytest.approx(3)
    assert not plan["0.weight"].proved
    assert not plan.proved
    assert any("declared" in note for note in plan.notes)
    assert "estimated" in str(plan)
    plan = mm.modularize(model, (x,), {"1": mm.Rule(sensitivity=3.0, bound=2.0, proved=True)})
    assert plan["0.weight"].proved
    assert plan.proved
    assert not plan.notes


def test_a_rule_by_operator():
    model, x = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU()), torch.zeros(2, 4)
    plan = mm.modularize(model, (x,), {torch.ops.aten.relu: mm.Rule(sensitivity=0.7)})
    assert plan["0.weight"].sensitivity == pytest.approx(0.7)


class Own(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x.exp() - 1, x)


def test_a_rule_for_an_own_module():
    @mm.register_rule(Own)
    def own(call: mm.modular.Call) -> mm.modular.Effect:
        return call.lipschitz(call.node.args[0], 2.0, reason="my own")

    try:
        model, x = nn.Sequential(nn.Linear(4, 4, bias=False), Own()), torch.zeros(2, 4)
        plan = mm.modularize(model, (x,))
        assert plan["0.weight"].sensitivity == pytest.approx(2)
        assert plan.proved
        assert any(layer.reason == "my own" for layer in mm.certify(model, (x,)).layers)
    finally:
        del MODULES[Own]


@torch.library.custom_op("manifoldtests::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    return 2 * x


@twice.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def test_a_rule_for_an_own_operator():
    model, x = Do(lambda x, w: torch.ops.manifoldtests.twice(x @ w), (4, 4)), draw(2, 4)
    with pytest.raises(mm.modular.UnknownOperationError, match=r"manifoldtests\.twice"):
        mm.modularize(model, (x,))

    @mm.register_rule(torch.ops.manifoldtests.twice)
    def rule(call: mm.modular.Call) -> mm.modular.Effect:
        return call.lipschitz(call.node.args[0], 2.0, reason="doubles")

    try:
        assert mm.modularize(model, (x,))["weights.0"].sensitivity == pytest.approx(2)
    finally:
        del RULES["manifoldtests.twice"]


class Cumulative(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.cumsum(-1)


def test_unknown_operations_are_errors_or_estimates():
    model, x = nn.Sequential(nn.Linear(4, 4, bias=False), Cumulative()), torch.zeros(2, 4)
    with pytest.raises(mm.modular.UnknownOperationError, match=r"aten.cumsum in 1 \(Cumulative\)"):
        mm.modularize(model, (x,))
    plan = mm.modularize(model, (x,), unknown=1.0)
    assert not plan.proved
    assert not plan["0.weight"].proved
    assert any("aten.cumsum" in note for note in plan.notes)
    assert "0 of 1 sensitivities are proved" in str(plan)
    certificate = mm.certify(model, (x,), unknown=1.0)
    assert not certificate.proved
    assert "ESTIMATED" in str(certificate)


def test_patterns_that_match_nothing_are_errors():
    with pytest.raises(ValueError, match="matches no module"):
        planned(tiny(), rules={"block": mm.Rule(mass=1)})
    with pytest.raises(ValueError, match="matches no module"):
        planned(tiny(), rules={nn.Conv2d: mm.Rule(mass=1)})


@pytest.mark.parametrize(
    "options",
    [{"domain": -1.0}, {"domain": inf}, {"floor": 0.0}, {"floor": inf}, {"unknown": "guess"}, {"unknown": -1.0}],
)
def test_wrong_options_are_errors(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        mm.modularize(nn.Linear(3, 3), (torch.zeros(1, 3),), **options)


def test_wrong_rules_are_errors():
    for options in ({"mass": -1.0}, {"sensitivity": inf}, {"bound": 1.0}):
        with pytest.raises(ValueError, match=r"finite|sensitivity"):
            mm.Rule(**options)
    with pytest.raises(TypeError, match="tuple"):
        mm.modularize(nn.Linear(3, 3), torch.zeros(1, 3))


RELU = torch.ops.aten.relu


@pytest.mark.parametrize(
    ("target", "rule", "message"),
    [
        ("0", mm.Rule(), "says nothing"),
        (RELU, mm.Rule(mass=1.0), "is an operation"),
        (RELU, mm.Rule(sensitivity=1.0, geometry=mm.well_normed.VECTOR), "is an operation"),
        (torch.ops.aten.gelu, mm.Rule(sensitivity=1.0), "matches no operation"),
    ],
)
def test_rules_that_say_what_cannot_be_said_of_their_key_are_errors(target, rule, message):
    model, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), torch.zeros(2, 4)
    with pytest.raises(ValueError, match=message):
        mm.modularize(model, (x,), {target: rule})


def test_a_rule_that_is_neither_a_rule_nor_a_function():
    with pytest.raises(TypeError, match="Rule or a function"):
        mm.modularize(nn.Linear(4, 4), (torch.zeros(2, 4),), {"": 1.0})


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(3, 3), nn.Linear(3, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def test_parameters_that_reach_no_output():
    model, x = Unused(), torch.zeros(1, 3)
    with pytest.raises(ValueError, match=r"unused\.weight .*does not reach the output"):
        mm.modularize(model, (x,))
    assert mm.modularize(model, (x,), {"unused.weight": mm.Rule(mass=0)})["unused.weight"].budget == 0
    model.unused.requires_grad_(False)
    assert set(mm.modularize(model, (x,))) == {"used.weight", "used.bias"}


def test_frozen_parameters_count_as_they_are():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)).double()
    with torch.no_grad():
        model[1].weight.copy_(3 * torch.eye(4))
    model[1].weight.requires_grad_(False)
    plan = mm.modularize(model, (draw(1, 4),))
    assert set(plan) == {"0.weight"}
    assert plan["0.weight"].sensitivity == pytest.approx(3)
    assert plan.proved


def test_an_infinite_sensitivity_names_its_cause():
    with pytest.raises(ValueError, match=r"0\.weight is not bounded: aten.maximum"):
        mm.modularize(
            nn.Sequential(nn.Linear(4, 4, bias=False), Do(lambda x: torch.maximum(x, x.flip(1)))), (torch.zeros(1, 4),)
        )


def test_floors_are_estimates_and_epsilons_are_proofs():
    model, x = nn.Sequential(nn.Linear(4, 4, bias=False), nn.RMSNorm(4, 1e-4, False)), torch.zeros(1, 4)
    plan = mm.modularize(model, (x,))
    assert plan["0.weight"].sensitivity == pytest.approx(1)
    assert not plan["0.weight"].proved
    assert any("RMSNorm" in note for note in plan.notes)
    plan = mm.modularize(model, (x,), floor=None)
    assert plan["0.weight"].sensitivity == pytest.approx(100)
    assert plan["0.weight"].proved


# the table


def test_the_table_shows_what_is_asked():
    plan = planned(tiny(bias=True))
    text = str(plan)
    lines = text.splitlines()
    for word in ("parameter", "shape", "manifold", "norm", "mass", "sensitivity", "budget", "free", "removed"):
        assert word in lines[0]
    for name, entry in plan.items():
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        assert " x ".join(map(str, entry.shape)) in line
        assert f"{entry.budget:.4g}" in line
        assert f"{entry.dimension:,}" in line
        assert ("proved" if entry.proved else "estimated") in line
    (total,) = [line for line in lines if line.startswith("total")]
    assert f"{sum(e.dimension for e in plan.values()):,}" in total
    assert f"{plan.mass:.4g}" in total
    assert "sensitivities are proved" in text
    assert f"{plan.stretch:.4g}" in text
    for entry in plan.values():
        assert 0 <= entry.removed < 1


# models of transformers


def _gpt2() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=2, n_head=2)
    return transformers.GPT2LMHeadModel(config)


def _llama() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=11,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=8,
    )
    return transformers.LlamaForCausalLM(config)


@pytest.mark.parametrize("make", [_gpt2, _llama])
def test_models_of_transformers(make):
    model = make()
    plan = mm.modularize(model, (torch.zeros(1, 5, dtype=torch.int64),))
    assert set(plan) == {name for name, _ in model.named_parameters()}
    for name, entry in plan.items():
        assert 0 < entry.budget < inf, name
        assert isfinite(entry.input_bound), name
    assert not plan.proved
    assert plan.notes
    assert isfinite(plan.stretch)
    plan.project_()
    mm.ModularOptimizer(plan, lr=0.01)


@pytest.mark.parametrize("target", ["nowhere.*", nn.Bilinear])
def test_a_declared_sensitivity_that_matches_nothing_is_an_error(target):
    with pytest.raises(ValueError, match="matches no module"):
        mm.modularize(nn.Linear(3, 2), (torch.zeros(1, 3),), {target: mm.Rule(sensitivity=1.0)})


def test_a_declared_module_that_is_understood_keeps_what_is_inside():
    model = nn.Sequential(
        nn.Linear(4, 4, bias=False), nn.Sequential(nn.Linear(4, 8, bias=False), nn.Linear(8, 4, bias=False))
    )
    plain = mm.modularize(
        model, (torch.zeros(1, 4),), {"1.0": mm.Rule(geometry=mm.Geometry(mm.Stiefel(5.0), mm.Spectral()))}
    )
    rules = {"1.0": mm.Rule(geometry=mm.Geometry(mm.Stiefel(5.0), mm.Spectral())), "1": mm.Rule(sensitivity=0.5)}
    declared = mm.modularize(model, (torch.zeros(1, 4),), rules)
    assert declared["1.0.weight"].sensitivity == plain["1.0.weight"].sensitivity
    assert declared["1.1.weight"].sensitivity == plain["1.1.weight"].sensitivity
    assert declared["0.weight"].sensitivity == 0.5
    assert not declared["0.weight"].proved
    assert "declared to stretch by at most 0.5" in str(declared)


def test_positions_are_as_long_as_the_tokens_that_they_are_added_to():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.positions = nn.Embedding(20, 8), nn.Embedding(6, 8)
            self.norm = nn.LayerNorm(8, elementwise_affine=False)

        def forward(self, x):
            h = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
            return self.norm(h) @ self.tokens.weight.T

    model = Tied()
    plan = mm.modularize(model, (torch.zeros(2, 6, dtype=torch.long),))
    plan.project_()
    lengths = [table.weight.detach().norm(dim=-1).square().mean().sqrt() for table in (model.tokens, model.positions)]
    assert float(lengths[0]) == pytest.approx(float(lengths[1]), rel=1e-5)
    assert len(plan["tokens.weight"].uses) == 2


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: F.linear(x, w) + w @ x.mT,
        lambda x, w: F.linear(x, w) / w,
        lambda x, w: F.linear(x, w) + F.layer_norm(x, (4,), w[0], None, 0.1),
    ],
)
def test_a_use_that_is_not_understood_is_not_left_out(function):
    """A weight that is used in two ways, one of which no rule knows, has no bound."""
    with pytest.raises(ValueError, match=r"weights\.0 is not bounded"):
        mm.modularize(Do(function, (4, 4)), (draw(4, 4),))

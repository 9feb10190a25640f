"""Steps compile as one graph, without a look at any number, and keep what their precision promises."""

import pytest
import torch

import modular_manifolds as mm
from modular_manifolds.linalg import GAP
from tests.lmo.gradients import gradient


@pytest.mark.parametrize("precision", GAP)
@pytest.mark.parametrize("norm", [mm.Spectral(), mm.Frobenius(), mm.RMSOperator()], ids=str)
@pytest.mark.parametrize("shape", [(24, 24), (30, 8), (2, 8, 30)], ids=str)
def test_a_step_is_one_graph(shape, norm, precision):
    torch.manual_seed(0)
    torch.compiler.reset()
    geometry = mm.Geometry(mm.Stiefel(), norm, precision=precision)
    w = geometry.manifold.random(shape)
    for kind in ("gaussian", "low rank"):
        g = gradient(kind, w.double()).float()
        step = torch.compile(lambda w, g: geometry.step(w, g, 0.01), fullgraph=True, backend="aot_eager")
        lmo = torch.compile(geometry.lmo, fullgraph=True, backend="aot_eager")
        assert geometry.manifold.violation(step(w, g)).max() < 3e-6
        certificate = geometry.certificate(w, g, lmo(w, g))
        assert certificate.gap.max() <= GAP[precision]
        assert certificate.tangency.max() <= 1e-6

import pytest

from modular_manifolds.experiments.findings import findings, headline, subject
from modular_manifolds.experiments.summary import best_by_method


@pytest.fixture
def best(make_result):
    """Two seeds a method, 0.2 points apart; optimizer steps of 1 ms, or 50 ms for dual ascent."""

    def make(**accuracies):
        return best_by_method(
            make_result(
                method=name.replace("_", "-"),
                seed=seed,
                test_accuracy=accuracy + 0.2 * seed,
                optimizer_seconds=5.0 if name == "dual_ascent" else 0.1,
            )
            for name, accuracy in accuracies.items()
            for seed in range(2)
        )

    return make


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ({"manifold_muon": 97.0}, "manifold-muon reaches 97.10 ± 0.14 % test accuracy."),
        ({"manifold_muon": 97.0, "muon": 95.0}, "2.00 points above muon (95.10 ± 0.14 %), the next of 2 methods."),
        ({"manifold_muon": 97.0, "muon": 98.0}, "1.00 points below muon (98.10 ± 0.14 %), the most accurate of 2"),
        ({"manifold_muon": 97.0, "muon": 97.1}, "within one standard deviation of muon (97.20 ± 0.14 %), the most"),
        ({"adamw": 97.0, "muon": 98.0}, "muon reaches 98.10 ± 0.14 % test accuracy, 1.00 points above adamw"),
    ],
)
def test_headline_follows_the_data(best, accuracies, expected):
    assert expected in headline(best(**accuracies))


def test_findings_compare_step_times(best):
    found = {finding.label: finding.value for finding in findings(best(manifold_muon=97, dual_ascent=97, muon=97))}
    assert found["the optimizer time of the blog's dual ascent"] == "1/50"
    assert found["the optimizer time of torch.optim.Muon"] == "1×"


def test_without_manifold_muon_the_most_accurate_method_is_the_subject(best):
    assert subject(best(adamw=97.0, muon=98.0)).method == "muon"
    assert len(findings(best(adamw=97.0))) == 2

import pytest

from modular_manifolds.experiments.findings import findings, headline, subject
from modular_manifolds.experiments.results import Layer, Result
from modular_manifolds.experiments.summary import best_by_method


def best(**accuracies):
    """Two seeds a method, 0.2 points apart; optimizer steps of 1 ms, 50 ms for dual ascent, 4 ms for adamw."""
    milliseconds = {"dual-ascent": 50.0, "adamw": 4.0}
    return best_by_method(
        Result(
            method=name.replace("_", "-"),
            lr=0.1,
            seed=seed,
            train_loss=1.0,
            test_loss=1.0,
            train_accuracy=accuracy,
            test_accuracy=accuracy + 0.2 * seed,
            seconds=1.0,
            optimizer_seconds=milliseconds.get(name.replace("_", "-"), 1.0) / 10,
            violation=1e-6,
            layers=(Layer("w", (2, 2), 1.0, 1.0, 1e-6),),
            data="digits",
            epochs=1,
            batch_size=1,
            momentum=0.0,
            steps=100,
            curve=(),
        )
        for name, accuracy in accuracies.items()
        for seed in range(2)
    )


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
def test_headline_follows_the_data(accuracies, expected):
    assert expected in headline(best(**accuracies))


def test_findings_compare_step_times():
    found = {finding.label: finding.value for finding in findings(best(manifold_muon=97, dual_ascent=97, muon=97))}
    assert found["the optimizer time of the blog's dual ascent"] == "1/50"
    assert found["the optimizer time of torch.optim.Muon"] == "1×"


def test_without_manifold_muon_the_most_accurate_method_is_the_subject():
    assert subject(best(adamw=97.0, muon=98.0)).method == "muon"
    assert len(findings(best(adamw=97.0))) == 2

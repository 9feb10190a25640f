"""What a comparison showed, in words and numbers drawn from its runs alone."""

from collections.abc import Mapping

from modular_manifolds.experiments.reports import Finding
from modular_manifolds.experiments.summary import Group

SUBJECT = "manifold-muon"


def subject(best: Mapping[str, Group]) -> Group:
    """The method that the report is about: manifold-muon, or without it the most accurate one."""
    return best[SUBJECT] if SUBJECT in best else leader(best)


def leader(best: Mapping[str, Group]) -> Group:
    """The method of highest mean test accuracy."""
    return max(best.values(), key=lambda group: group.test_accuracy.mean)


def headline(best: Mapping[str, Group]) -> str:
    """One sentence: how accurate the subject is, and where that puts it."""
    group, first = subject(best), leader(best)
    opening = f"{group.method} reaches {_accuracy(group)} test accuracy"
    others = [other for other in best.values() if other is not group]
    if not others:
        return f"{opening}."
    if group is first:
        second = max(others, key=lambda other: other.test_accuracy.mean)
        return f"{opening}, {_distance(group, second)}, the next of {len(best)} methods."
    return f"{opening}, {_distance(group, first)}, the most accurate of {len(best)} methods."


def findings(best: Mapping[str, Group]) -> tuple[Finding, ...]:
    """The subject's accuracy, how far from the manifold it ends, and its step time beside the others'."""
    group = subject(best)
    found = [
        Finding(_accuracy(group), f"test accuracy of {group.method} at lr {group.lr:g}"),
        Finding(f"{group.violation:.2g}", "largest distance of any of its singular values from 1"),
    ]
    if "dual-ascent" in best and group.method != "dual-ascent":
        ratio = group.step_milliseconds / best["dual-ascent"].step_milliseconds
        found.append(Finding(_times(ratio), "the optimizer time of the blog's dual ascent"))
    if "muon" in best and group.method != "muon":
        ratio = group.step_milliseconds / best["muon"].step_milliseconds
        found.append(Finding(_times(ratio), "the optimizer time of torch.optim.Muon"))
    return tuple(found)


def _times(ratio: float) -> str:
    return f"{ratio:.2g}×" if ratio >= 1 else f"1/{1 / ratio:.2g}"


def _accuracy(group: Group) -> str:
    return f"{group.test_accuracy.text(2)} %"


def _distance(group: Group, other: Group) -> str:
    points = group.test_accuracy.mean - other.test_accuracy.mean
    spread = max(group.test_accuracy.std, other.test_accuracy.std)
    if abs(points) <= spread:
        where = "within one standard deviation of"
    else:
        where = f"{abs(points):.2f} points {'above' if points > 0 else 'below'}"
    return f"{where} {other.method} ({_accuracy(other)})"

"""What a report says of the conditions under which its numbers came about."""

import platform

from modular_manifolds.experiments.comparison import Comparison, versions
from modular_manifolds.experiments.data import Dataset


def comparison_settings(comparison: Comparison, data: Dataset) -> tuple[tuple[str, str], ...]:
    """What all runs of a comparison, of whatever methods, have in common."""
    low, high = data.train.inputs.min(), data.train.inputs.max()
    sizes = [data.features, *comparison.widths, data.classes]
    return (
        ("data", f"{data.name}: {len(data.train):,} training, {len(data.test):,} test images"),
        ("pixels", f"from {low:g} to {high:g}"),
        ("network", f"{'-'.join(map(str, sizes))}, ReLU, no biases"),
        ("training", f"{comparison.epochs} epochs, batches of {comparison.batch_size}, cross-entropy"),
        ("learning rate", "falls linearly to 0, step by step"),
        ("seeds", str(comparison.seeds)),
    )


def machine_settings(threads: str) -> tuple[tuple[str, str], ...]:
    """The software and the machine that this process runs on."""
    return (
        ("software", f"{versions()}, Python {platform.python_version()}"),
        ("system", f"{platform.system()} {platform.machine()}"),
        ("threads", threads),
    )

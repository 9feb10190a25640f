"""How robust trained networks are: what is proved of them, and what an attack finds."""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from modular_manifolds.experiments.attack import pgd_attack
from modular_manifolds.experiments.comparison import torch_threads
from modular_manifolds.experiments.data import Dataset
from modular_manifolds.experiments.files import write_atomically
from modular_manifolds.experiments.network import MLP
from modular_manifolds.experiments.results import plain
from modular_manifolds.experiments.robustness_pixels import pixel_network, pixel_units
from modular_manifolds.experiments.robustness_runs import RunsError, Trained
from modular_manifolds.linalg import spectral_norm_bound
from modular_manifolds.modular import certify
from modular_manifolds.robustness import certified_radii, margin

_CURVE_POINTS = 200
_SEED = 0


@dataclass(frozen=True)
class Robustness:
    """What to measure, and where to write it. Radii are Euclidean, of images with pixels from 0 to 1."""

    folders: tuple[Path, ...]
    data_dir: Path | None
    radii: tuple[float, ...]
    images: int
    steps: int
    restarts: int
    threads: int
    out: Path

    @property
    def results_path(self) -> Path:
        """Everything that was measured."""
        return self.out / "robustness.json"

    def attack_steps(self, runs: int) -> int:
        """Steps of all attacks on so many runs: one attack a radius, and one at every image's certified radius."""
        return runs * (len(self.radii) + 1) * self.steps * self.restarts

    def command(self) -> str:
        """The command line that repeats this."""
        options = {
            "data-dir": self.data_dir,
            "radii": ",".join(map(fraction, self.radii)),
            "images": self.images,
            "steps": self.steps,
            "restarts": self.restarts,
            "threads": self.threads,
            "out": self.out,
        }
        given = [f"--{name} {shlex.quote(str(value))}" for name, value in options.items() if value is not None]
        return " ".join(["modular-manifolds robustness", *(shlex.quote(str(path)) for path in self.folders), *given])


def fraction(radius: float) -> str:
    """A radius as people write it: in 255ths."""
    return f"{radius * 255:g}/255"


@dataclass(frozen=True)
class AtRadius:
    """Shares of images, in percent, at one radius, and how many decisions were certified and yet changed.

    `certified` and `attacked` (classified correctly still, at the worst point found) are of the images that were
    attacked, `certified_of_all` of all test images.
    """

    radius: float
    certified: float
    certified_of_all: float
    attacked: float
    flips: int


@dataclass(frozen=True)
class Measured:
    """One run. Accuracies in percent; `lipschitz` is what `certify` proves of the network, from pixels to logits.

    `flips_at_own_radius` is the count of decisions changed when every image is attacked at the radius certified for it.
    `curve` is the certified accuracy of the attacked images at equidistant radii from 0, `curve_step` apart.
    """

    method: str
    lr: float
    seed: int
    lipschitz: float
    layer_norms: tuple[float, ...]
    accuracy: float
    accuracy_of_all: float
    at: tuple[AtRadius, ...]
    flips_at_own_radius: int
    curve_step: float
    curve: tuple[float, ...]

    @property
    def flips(self) -> int:
        """All certified decisions that an attack changed: 0 unless the certificate is wrong."""
        return self.flips_at_own_radius + sum(at.flips for at in self.at)


def measure_all(
    robustness: Robustness,
    data: Dataset,
    runs: Sequence[Trained],
    finished: Callable[[Measured], None] = lambda measured: None,
    on_step: Callable[[], None] = lambda: None,
) -> list[Measured]:
    """Measure every run and write robustness.json; `finished` is called after a run, `on_step` after an attack's step.

    Raises:
        RunsError: the runs were trained on other data, or on another network.
    """
    measured = []
    with torch_threads(robustness.threads):
        for trained in runs:
            measured.append(_measure(robustness, data, trained, on_step))
            finished(measured[-1])
    content: dict[str, Any] = {
        "command": robustness.command(),
        "data": data.name,
        "test_images": len(data.test),
        "attacked_images": min(robustness.images, len(data.test)),
        "attack": {"steps": robustness.steps, "restarts": robustness.restarts, "seed": _SEED},
        "radii": "Euclidean, of images with pixels from 0 to 1",
        "runs": [asdict(each) for each in measured],
    }
    write_atomically(robustness.results_path, json.dumps(plain(content), indent=1).encode())
    return measured


def _measure(robustness: Robustness, data: Dataset, trained: Trained, on_step: Callable[[], None]) -> Measured:
    run = trained.run
    if run.data_fingerprint != data.fingerprint:
        raise RunsError(
            f"{run.key} was trained on other {run.data} data ({run.data_fingerprint}) than was read "
            f"({data.fingerprint}). Name with --data-dir what it was trained on."
        )
    units = pixel_units(data.name)
    try:
        network = pixel_network(trained.weights, run, units, data.classes)
    except RuntimeError as error:
        raise RunsError(f"the weights of {run.key} do not fit its network: {error}") from error
    norms = tuple(float(spectral_norm_bound(weight)) for weight in network.parameters())
    inputs, labels = data.test.inputs.double() * units, data.test.labels
    lipschitz = certify(network, (inputs[:1],)).lipschitz
    radii = certified_radii(network(inputs), labels, lipschitz)
    attack = _Attack(robustness, network, inputs[: robustness.images], labels[: robustness.images], on_step)
    attacked = radii[: robustness.images]
    step = 1.25 * max(robustness.radii) / _CURVE_POINTS
    return Measured(
        method=run.method,
        lr=run.lr,
        seed=run.seed,
        lipschitz=lipschitz,
        layer_norms=norms,
        accuracy=_percent(attacked > 0),
        accuracy_of_all=_percent(radii > 0),
        at=tuple(_at(radius, attacked, radii, attack.survives(radius)) for radius in robustness.radii),
        flips_at_own_radius=int(((attacked > 0) & ~attack.survives(attacked.clamp(min=0))).sum()),
        curve_step=step,
        curve=tuple(_percent(attacked > step * point) for point in range(_CURVE_POINTS + 1)),
    )


def _at(radius: float, attacked: Tensor, radii: Tensor, survives: Tensor) -> AtRadius:
    certified = attacked > radius
    return AtRadius(
        radius=radius,
        certified=_percent(certified),
        certified_of_all=_percent(radii > radius),
        attacked=_percent(survives),
        flips=int((certified & ~survives).sum()),
    )


class _Attack:
    """Attacks on the images that a network classifies correctly; the others need none."""

    def __init__(
        self,
        robustness: Robustness,
        network: MLP,
        inputs: Float[Tensor, "images features"],
        labels: Int[Tensor, " images"],
        on_step: Callable[[], None],
    ) -> None:
        self._settings = robustness
        self._network = network
        self._inputs = inputs
        self._labels = labels
        self._on_step = on_step
        self._correct = margin(network(inputs), labels) > 0

    def survives(self, radius: float | Float[Tensor, " images"]) -> Tensor:
        """Which images are classified correctly, and still so at the worst point found within `radius` of them."""
        inputs, labels = self._inputs[self._correct], self._labels[self._correct]
        found = pgd_attack(
            self._network,
            inputs,
            labels,
            radius if isinstance(radius, float) else radius[self._correct],
            self._settings.steps,
            restarts=self._settings.restarts,
            generator=torch.Generator().manual_seed(_SEED),
            on_step=self._on_step,
        )
        survives = self._correct.clone()
        survives[self._correct] = margin(self._network(found), labels) > 0
        return survives


def _percent(selected: Tensor) -> float:
    return 100 * float(selected.double().mean())

"""One training run: every setting that its outcome depends on."""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256


@dataclass(frozen=True)
class Run:
    """`optimizer` spells out the method's own settings; threads and versions decide how sums are rounded.

    Two runs with equal settings are the same run: a store that has one need not train it again.
    """

    method: str
    optimizer: str
    lr: float
    momentum: float
    seed: int
    data: str
    data_fingerprint: str
    widths: tuple[int, ...]
    epochs: int
    batch_size: int
    threads: int
    versions: str

    @property
    def key(self) -> str:
        """A folder name: readable, and different for any two different runs."""
        settings = json.dumps(asdict(self), sort_keys=True)
        return f"{self.method}-lr{self.lr:g}-seed{self.seed}-{sha256(settings.encode()).hexdigest()[:12]}"

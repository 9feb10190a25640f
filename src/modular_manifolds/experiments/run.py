"""One training run: every setting that its outcome depends on."""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256


@dataclass(frozen=True)
class Run:
    """`optimizer` spells out the method's own settings; threads, versions and nproc decide how sums are rounded.

    `nproc` is the number of processes that share every batch, each with `threads` threads.

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
    nproc: int = 1

    @property
    def key(self) -> str:
        """A folder name: readable, and different for any two different runs."""
        settings = asdict(self)
        if self.nproc == 1:
            del settings["nproc"]  # as it was before there was a choice: runs of that time are found again
        digest = sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        return f"{self.method}-lr{self.lr:g}-seed{self.seed}-{digest[:12]}"

"""A text, character by character, as a task for a language model."""

import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from modular_manifolds.experiments.data import DataError, fingerprint
from modular_manifolds.experiments.task import TaskName

CONTEXT = 64
"""Characters that a prediction is made from, at most."""

LARGEST = 1_200_000
"""Characters that are read of a text; the rest is left out."""

_VALIDATION = 10
_PIECES, _PIECE = 8, 64


@dataclass(frozen=True, eq=False)
class Text:
    """A text as numbers of characters; its last tenth is held out. `alphabet` has the characters in their order."""

    alphabet: str
    fingerprint: str
    train: Int[Tensor, " characters"]
    validation: Int[Tensor, " characters"]
    name: TaskName = TaskName.TEXT

    @property
    def classes(self) -> int:
        """How many different characters there are."""
        return len(self.alphabet)

    @classmethod
    def of(cls, text: str, source: str) -> "Text":
        """The task of `text`; characters beyond ASCII count as one.

        Raises:
            DataError: `source` is too short.
        """
        text = text[:LARGEST].encode("ascii", "replace").decode()
        alphabet = "".join(sorted(set(text)))
        number = {character: i for i, character in enumerate(alphabet)}
        numbers = torch.tensor([number[character] for character in text])
        train, validation = numbers.tensor_split([len(numbers) - len(numbers) // _VALIDATION])
        if len(validation) <= CONTEXT:
            least = (CONTEXT + 1) * _VALIDATION
            raise DataError(f"{source} has {len(text)} characters, expected {least} or more. Name another with --file.")
        return cls(alphabet, fingerprint(text.encode()), train, validation)

    def batch(
        self, size: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, "batch positions"], Int[Tensor, "batch positions"]]:
        """Pieces of the text, and the same one character further on."""
        return _windows(self.train, torch.randint(len(self.train) - CONTEXT, (size,), generator=generator))

    def held_out(self) -> Iterator[tuple[Int[Tensor, "batch positions"], Int[Tensor, "batch positions"]]]:
        """Pieces spread evenly over the last tenth of the text, each once; so are those of every batch of them."""
        evenly = torch.linspace(0, len(self.validation) - CONTEXT - 1, _PIECES * _PIECE)
        starts = evenly.long().unique()  # type: ignore[no-untyped-call]
        for first in range(min(_PIECES, len(starts))):
            yield _windows(self.validation, starts[first::_PIECES])


def load_text(path: Path | None) -> Text:
    """The text in `path`, or (None) the source code of Python's own standard library.

    Raises:
        DataError: the file cannot be read, or is too short.
    """
    if path is None:
        return Text.of(_standard_library(), "Python's standard library")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}). Name another with --file.") from error
    return Text.of(text, str(path))


def _standard_library() -> str:
    text = ""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text += path.read_text(encoding="utf-8", errors="replace")
        if len(text) >= LARGEST:
            break
    return text


def _windows(
    text: Int[Tensor, " characters"], starts: Int[Tensor, " batch"]
) -> tuple[Int[Tensor, "batch positions"], Int[Tensor, "batch positions"]]:
    windows = text[starts[:, None] + torch.arange(CONTEXT + 1)]
    return windows[:, :-1], windows[:, 1:]

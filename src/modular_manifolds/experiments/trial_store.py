"""results.json of a study: its settings, and every finished trial with its outcome."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from modular_manifolds.experiments.data import DataError
from modular_manifolds.experiments.files import write_atomically

TrialT = TypeVar("TrialT")
OutcomeT = TypeVar("OutcomeT")


class TrialStore(Generic[TrialT, OutcomeT]):
    """Outcomes by trial. The file, a line a trial, is written anew, whole, with every one that is added."""

    def __init__(
        self,
        path: Path,
        settings: dict[str, Any],
        read: Callable[[Mapping[str, Any]], tuple[TrialT, OutcomeT]],
        write: Callable[[TrialT, OutcomeT], dict[str, Any]],
    ) -> None:
        """Read what is there, a row by `read`, as `write` made it of plain JSON values.

        Raises:
            DataError: the file is damaged, or is of a study with other settings.
        """
        self._path, self._settings, self._write = path, settings, write
        self._outcomes: dict[TrialT, OutcomeT] = {}
        if not path.exists():
            return
        try:
            record = json.loads(path.read_bytes())
            theirs = record["settings"]
            self._outcomes = dict(map(read, record["trials"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is damaged ({error!r}). Delete it, or choose another --out.") from error
        different = [name for name in settings if theirs.get(name) != settings[name]]
        if different:
            raise DataError(
                f"{path} is of another study, with other {', '.join(different)}. Delete it, or choose another --out."
            )

    def __contains__(self, trial: TrialT) -> bool:
        return trial in self._outcomes

    def __iter__(self) -> Iterator[TrialT]:
        return iter(self._outcomes)

    def __getitem__(self, trial: TrialT) -> OutcomeT:
        return self._outcomes[trial]

    def __setitem__(self, trial: TrialT, outcome: OutcomeT) -> None:
        self._outcomes[trial] = outcome
        rows = ",\n".join(json.dumps(self._write(trial, outcome)) for trial, outcome in self._outcomes.items())
        content = f'{{"settings": {json.dumps(self._settings, indent=1)},\n"trials": [\n{rows}\n]}}\n'
        write_atomically(self._path, content.encode())

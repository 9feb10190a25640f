"""results.json of a study: its settings, and every finished trial with its outcome."""

import json
from pathlib import Path
from typing import Any

from modular_manifolds.experiments.data import DataError
from modular_manifolds.experiments.files import write_atomically
from modular_manifolds.experiments.trial import Outcome, Trial, row


class TrialStore:
    """Outcomes by trial. The file is written anew, whole, with every one that is added."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        """Read what is there.

        Raises:
            DataError: the file is damaged, or is of a study with other settings.
        """
        self._path, self._settings = path, settings
        self._outcomes: dict[Trial, Outcome] = {}
        if not path.exists():
            return
        try:
            record = json.loads(path.read_bytes())
            theirs = record["settings"]
            self._outcomes = {Trial.from_json(r): Outcome.from_json(r["outcome"]) for r in record["trials"]}
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is damaged ({error!r}). Delete it, or choose another --out.") from error
        different = [name for name in settings if theirs.get(name) != settings[name]]
        if different:
            raise DataError(
                f"{path} is of another study, with other {', '.join(different)}. Delete it, or choose another --out."
            )

    def __contains__(self, trial: Trial) -> bool:
        return trial in self._outcomes

    def __getitem__(self, trial: Trial) -> Outcome:
        return self._outcomes[trial]

    def __setitem__(self, trial: Trial, outcome: Outcome) -> None:
        self._outcomes[trial] = outcome
        rows = [row(trial, outcome) for trial, outcome in self._outcomes.items()]
        write_atomically(self._path, json.dumps({"settings": self._settings, "trials": rows}, indent=1).encode())

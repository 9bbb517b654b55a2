"""A file with one JSON object a measurement: for a notebook, a spreadsheet, or `dvc plots`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dalcli.config.hashing import short_hash
from dalcli.errors import DalcliError
from dalcli.state.journal import Journal
from dalcli.tracking.entry import Entry


@dataclass(frozen=True)
class JsonLines:
    """The file at ``path``, which the configuration calls ``name``."""

    path: Path
    name: str

    @property
    def key(self) -> str:
        return short_hash(f"jsonl {self.name}")

    def write(self, entries: Sequence[Entry]) -> None:
        """Append those that are not in the file yet.

        Raises:
            DalcliError: its folder does not exist.
            OSError: it cannot be written.
        """
        if not self.path.parent.is_dir():
            raise DalcliError(f"{self.path.parent}: no such folder", "create it, or change tracking.jsonl")
        journal = Journal(self.path)
        known = {found.get("measurement") for found in journal.documents()}
        for each in entries:
            if each.key not in known:
                journal.append(
                    {"measurement": each.key, "measured_at": each.measured_at, "version": each.version, **each.metrics}
                    | {"strategies": list(each.strategies), "params": each.params}
                )

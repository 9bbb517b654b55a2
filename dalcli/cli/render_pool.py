"""What ``init`` and ``pool`` show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dalcli.cli.tables import counts, facts, text
from dalcli.config.words import counted
from dalcli.data.table import csv_text

if TYPE_CHECKING:
    from dalcli.commands.init import InitResult
    from dalcli.commands.pool import PoolCounts, PoolListing, Quarantine, Relocation


def _model(result: InitResult) -> str:
    return f"{result.model}, frozen, with weights {result.weights}," if result.train == "head" else result.model


def init(result: InitResult) -> str:
    height, width = result.image_size
    reserve = f"{100 * result.evaluation_reserve:g}% of the pool" if result.evaluation_reserve else "none"
    return text(
        facts(
            [
                ("workspace", result.root),
                ("classes", f"{len(result.classes)}: {', '.join(result.classes)}"),
                ("training samples", counts(result.states["training"])),
                ("evaluation samples", counts(result.states["evaluation"])),
                ("evaluation reserve", reserve),
                ("model", f"{_model(result)} at {height}×{width} pixels"),
            ]
        )
    )


def pool_counts(result: PoolCounts) -> str:
    return text(facts((f"{purpose} samples", counts(states)) for purpose, states in result.states.items()))


def pool_listing(result: PoolListing) -> str:
    header = ("sample_id", "path", "purpose", "state", "label", "reason")
    return csv_text(header, ((e.sample_id, e.path, e.purpose, e.state, e.label, e.reason) for e in result.entries))


def quarantine(result: Quarantine) -> str:
    return csv_text(("path", "reason", "sample_id"), ((f.path, f.reason, f.sample_id) for f in result.files))


def relocation(result: Relocation) -> str:
    return f"{counted(result.files, 'file is', 'files are')} known at {result.new}\n"

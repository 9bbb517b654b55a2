"""What ``export-model`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dalcli.cli.tables import facts, listing, text
from dalcli.config.words import bytes_text, counted

if TYPE_CHECKING:
    from dalcli.commands.export_model import ExportResult


def export_model(result: ExportResult) -> str:
    head = facts(
        [
            ("folder", result.out),
            ("model", f"{result.model} ({result.network}, {counted(len(result.classes), 'class', 'classes')})"),
            ("temperature", f"{result.temperature:.4g}" if result.calibrated else "none: not calibrated"),
        ]
    )
    rows = [(f.form, f.file, bytes_text(f.bytes), f"{f.max_difference:.1e}", f.images, f.example) for f in result.forms]
    return text(head, "", listing(("format", "file", "size", "largest difference", "images", "example"), rows))

"""What ``export-model`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dalcli.cli.tables import facts, listing, text
from dalcli.config.words import bytes_text, counted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dalcli.commands.export_model import ExportResult
    from dalcli.exporting.result import Quantised


def export_model(result: ExportResult) -> str:
    head = facts(
        [
            ("folder", result.out),
            ("model", f"{result.model} ({result.network}, {counted(len(result.classes), 'class', 'classes')})"),
            ("temperature", f"{result.temperature:.4g}" if result.calibrated else "none: not calibrated"),
        ]
    )
    rows = [(f.form, f.file, bytes_text(f.bytes), f"{f.max_difference:.1e}", f.images, f.example) for f in result.forms]
    table = listing(("format", "file", "size", "largest difference", "images", "example"), rows)
    return text(head, "", table) if result.int8 is None else text(head, "", table, "", _eight_bits(result.int8))


def _eight_bits(found: Quantised) -> RenderableType:
    return facts(
        [
            ("int8", f"{found.file}, {bytes_text(found.bytes)}; ranges from {counted(found.calibrated_on, 'image')}"),
            (
                "accuracy",
                f"{100 * found.accuracy:.1f}% ({100 * found.low:.1f} to {100 * found.high:.1f}) of "
                f"{counted(found.examples, 'evaluation image')}; in 32 bits {100 * found.float_accuracy:.1f}%",
            ),
            (
                "predictions",
                f"{found.changed} changed: {found.better} right now, {found.worse} right before "
                f"(p = {found.p_value:.2g})",
            ),
            ("images/s", f"{found.images_per_second:,.0f}, in 32 bits {found.float_images_per_second:,.0f}"),
        ]
    )

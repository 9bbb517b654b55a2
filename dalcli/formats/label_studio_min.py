"""Label Studio's JSON_MIN: one flat object an annotation. Skipped tasks are not in it.

Our fields stand beside the tool's own, so the label's key is told by its name: ``label``, ``choice``, ``class``, ....
An annotation that was submitted empty lacks the key.
"""

from __future__ import annotations

from collections.abc import Mapping

from dalcli.data.table import RowProblem
from dalcli.formats.cells import BadCellError
from dalcli.formats.fields import ANSWER_COLUMNS, answer_key, one_class, sample_names
from dalcli.formats.json_stream import Item, array_items, as_amount, as_object
from dalcli.formats.label_studio import annotator, when
from dalcli.formats.labels import LabelFile, LabelRow, ReadOptions
from dalcli.formats.look import Look
from dalcli.formats.source import LabelSource

_OWN = frozenset({"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time"})


class LabelStudioMin:
    """The flat JSON export."""

    description = "Label Studio's JSON_MIN: an array of objects with 'annotation_id' and 'annotator'"

    def detect(self, look: Look) -> str | None:
        """The first object names its annotation and its annotator."""
        if look.kind == "array" and {"annotation_id", "annotator"} <= look.first.keys():
            return "a JSON array of objects with 'annotation_id' and 'annotator'"
        return None

    def read(self, source: LabelSource, options: ReadOptions) -> LabelFile:
        """One row an object."""
        rows: list[LabelRow] = []
        problems: list[RowProblem] = []
        keys: dict[str, None] = {}
        wanted = (options.label_column,) if options.label_column is not None else ANSWER_COLUMNS
        for item in array_items(source.file()):
            try:
                answer = as_object(item.value)
                keys |= dict.fromkeys(key for key in wanted if key in answer)
                rows.append(_row(item, answer, wanted))
            except BadCellError as error:
                problems.append(RowProblem(item.number, str(error), "item"))
        answer_key(source.name, keys, options.label_column, "keys")
        return LabelFile(rows, problems, unit="item")


def _row(item: Item, answer: Mapping[str, object], wanted: tuple[str, ...]) -> LabelRow:
    chosen = next((answer[key] for key in wanted if key in answer), None)
    if isinstance(chosen, dict):  # several choices are wrapped
        chosen = chosen.get("choices")
    ref, aliases = sample_names({key: value for key, value in answer.items() if key not in _OWN and key not in wanted})
    return LabelRow(
        line=item.number,
        sample_ref=ref,
        aliases=aliases,
        label=one_class(chosen if isinstance(chosen, list) else [chosen]),
        annotator=annotator(answer.get("annotator")),
        seconds=as_amount(answer.get("lead_time"), "lead_time"),
        labeled_at=when(answer),
    )

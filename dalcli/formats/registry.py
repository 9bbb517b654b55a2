"""All label formats, in the order in which they are tried."""

from __future__ import annotations

from dalcli.data.text import TextInput
from dalcli.errors import BadInputError
from dalcli.formats.labels import LabelFile, LabelFormat
from dalcli.formats.plain import PlainTable

# The plain table comes last: other tools write tables too, and theirs are recognised by their columns.
FORMATS: dict[str, LabelFormat] = {
    "plain": PlainTable(),
}


def read_labels(source: TextInput) -> LabelFile:
    """Read a label file in whichever known format it is; the first that recognises it reads it.

    Bad rows are collected in ``problems``: whether they refuse the file is the caller's decision.

    Raises:
        BadInputError: no format recognises the file, or it cannot be understood as a whole.
    """
    head = source.head()
    for label_format in FORMATS.values():
        if label_format.detect(head):
            return label_format.read(source)
    known = "; ".join(f"{name}: {label_format.description}" for name, label_format in FORMATS.items())
    raise BadInputError(f"{source.name} is in no known label format.", f"Known formats: {known}.")

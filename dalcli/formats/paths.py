"""A batch as bare paths, one a line: for a script, a viewer or `rsync --files-from`."""

from __future__ import annotations

from dalcli.errors import BadInputError
from dalcli.formats.batch import Sheet


class Paths:
    """One path a line."""

    description = "one path a line"

    def write(self, sheet: Sheet) -> bytes:
        """The paths, best first; BadInputError for one with a line end in it."""
        paths = [sheet.url(row["path"], row["path"]) for row in sheet.rows]
        broken = next((path for path in paths if "\n" in path or "\r" in path), None)
        if broken is not None:
            raise BadInputError(
                f"the name {broken!r} has a line end in it.", "Rename the file, or use another --format."
            )
        return "".join(f"{path}\n" for path in paths).encode()

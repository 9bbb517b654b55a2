"""The commands of a Markdown page as one script: fenced ``bash`` blocks, in order, as a reader would type them.

A block after the line ``<!-- test: skip -->`` is left out; ``console`` blocks are output and never run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SKIP = "<!-- test: skip -->"
# Stands for the labeler, who fills in whatever was handed out since the last block.
LABEL = "if [ -f to_label.csv ]; then label; fi"


@dataclass(frozen=True)
class Block:
    """The lines of one fenced block; ``line`` is where the first of them stands."""

    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """The blocks of a page that are to be run.

    Raises:
        ValueError: a fence that is never closed, or a skip mark with no block after it.
    """
    found: list[Block] = []
    lines = page.splitlines()
    number = 0
    skip = False
    while number < len(lines):
        fence = re.fullmatch(r"```(\w*)", lines[number].rstrip())
        if fence:
            end = next((n for n in range(number + 1, len(lines)) if lines[n].rstrip() == "```"), None)
            if end is None:
                raise ValueError(f"line {number + 1}: this fence is never closed")
            if fence[1] == "bash" and not skip:
                found.append(Block("\n".join(lines[number + 1 : end]), number + 2))
            skip = False
            number = end
        elif skip:
            raise ValueError(f"line {number}: {SKIP} must stand right above a block")
        else:
            skip = lines[number].strip() == SKIP
        number += 1
    return found


def script(page_blocks: list[Block]) -> str:
    """All blocks in one shell, so that ``cd`` and variables last; says on stderr which line it is at."""
    parts = ["set -euo pipefail"]
    for block in page_blocks:
        parts += [LABEL, f"echo '### line {block.line}' >&2", block.text]
    return "\n".join(parts) + "\n"

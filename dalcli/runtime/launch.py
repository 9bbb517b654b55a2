"""What ``torchrun`` told this process about itself. Never imports torch: every command looks here."""

from __future__ import annotations

import os


def launched() -> tuple[int, int]:
    """(rank, number of ranks) as torchrun says; (0, 1) without it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def local_rank() -> int:
    """This process's number among those on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0")) if launched()[1] > 1 else 0

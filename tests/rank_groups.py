"""Functions run by several processes that find each other as under torchrun, without the seconds that one takes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch.distributed import TCPStore

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch.distributed", "dalcli.scoring.run", "dalcli.training.version"])
PATIENCE = 120.0


@dataclass(frozen=True)
class Raised:
    """An exception that ended the function: its type's name, its text, and the exit code if it has one."""

    name: str
    text: str
    code: int | None = None


@dataclass(frozen=True)
class Agent:
    """What torchrun is to its processes: one store, however often they are started anew."""

    port: int
    folder: Path

    def run(self, size: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
        """What ``work(ranks, *arguments)`` returned (or :class:`Raised`) by rank; of a killed one its exit code."""
        answers = [self.folder / f"{rank}" for rank in range(size)]
        for answer in answers:
            answer.unlink(missing_ok=True)
        members = [
            _CONTEXT.Process(target=_member, args=(self.port, rank, size, answer, work, arguments))
            for rank, answer in enumerate(answers)
        ]
        for member in members:
            member.start()
        for member in members:
            member.join(PATIENCE)
        hanging = [rank for rank, member in enumerate(members) if member.exitcode is None]
        for member in members:
            member.kill()
        assert not hanging, f"ranks {hanging} hang"
        return [
            pickle.loads(answer.read_bytes()) if answer.exists() else member.exitcode
            for answer, member in zip(answers, members, strict=True)
        ]


@contextmanager
def agent(folder: Path) -> Iterator[Agent]:
    """A torchrun's place, with files in ``folder``."""
    folder.mkdir(exist_ok=True)
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=PATIENCE))
    yield Agent(store.port, folder)


def _member(
    port: int, rank: int, size: int, answer: Path, work: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "test",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
    }
    import torch

    from dalcli.runtime.ranks import joined

    torch.set_num_threads(1)
    try:
        with joined() as ranks:
            result = work(ranks, *arguments)
    except BaseException as error:
        result = Raised(type(error).__name__, str(error), getattr(error, "exit_code", None))
    answer.write_bytes(pickle.dumps(result))

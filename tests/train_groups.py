"""A function run by several processes that know each other as ranks, as under torchrun but without its seconds."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from dalcli.runtime.ranks import Ranks

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch.distributed", "dalcli.training.loop", "dalcli.models.zoo"])
PATIENCE = 500.0  # seconds; a busy machine must not fail a test


@contextmanager
def one_thread() -> Iterator[None]:
    """Few cores are shared by all tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def in_group(size: int, folder: Path, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What ``work(ranks, *arguments)`` returned on each of ``size`` ranks; ``folder`` must be new to the group."""
    folder.mkdir()
    members = [_CONTEXT.Process(target=_member, args=(r, size, folder, work, arguments)) for r in range(size)]
    for member in members:
        member.start()
    for member in members:
        member.join(PATIENCE)
    codes = [member.exitcode for member in members]
    for member in members:
        member.kill()
    assert codes == [0] * size, codes
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]


def _member(rank: int, size: int, folder: Path, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=size)
    try:
        torch.save(work(Ranks(rank, size), *arguments), folder / f"{rank}.pt")
    finally:
        distributed.destroy_process_group()

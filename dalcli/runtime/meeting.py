"""Where the processes of one start of a torchrun find each other.

torchrun keeps one key-value store for all its restarts and does not clear it: a restarted process may read the network
address of a dead one there. So the processes first agree on a name that no earlier start has used.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

LOOK_SECONDS = 0.01
_LEFT = "rank 0 has ended and said why"


def common_store(rank: int, size: int, patience: timedelta) -> Any:
    """A store that exactly the ``size`` processes of this start share; returns once all are there."""
    store, _, _ = next(iter(rendezvous("env://", rank, size, timeout=patience)))
    own = uuid4().hex
    lobby = PrefixStore("dalcli", store)
    lobby.set_timeout(patience)
    name = _receive(lobby, size, own) if rank == 0 else _arrive(lobby, rank, own)
    return PrefixStore(name, store)


def leave(store: Any) -> None:
    """Rank 0 ends in order; a killed one does not come to this."""
    store.set(_LEFT, "")


def has_left(store: Any) -> bool:
    """Whether rank 0 has ended in order, and so could say why; False while it runs, or if it was killed."""
    return bool(store.check([_LEFT]))


def wait_until_left(store: Any, seconds: float) -> None:
    """Give rank 0 the time to say what happened: once a process fails, torchrun ends those on the same machine."""
    deadline = time.monotonic() + seconds
    with suppress(Exception):  # the machine that keeps the store may have gone too
        while not has_left(store) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)


def _receive(lobby: PrefixStore, size: int, own: str) -> str:
    """Answer whoever asks, the dead included, until all ``size`` processes have had an answer of this one."""
    expected = set(range(1, size))
    while expected:
        for other in sorted(expected):
            if lobby.check([f"asks/{other}"]):
                lobby.set(f"answer/{lobby.get(f'asks/{other}').decode()}", own)
            if lobby.check([f"heard/{own}/{other}"]):
                expected.remove(other)
        time.sleep(LOOK_SECONDS)
    return own


def _arrive(lobby: PrefixStore, rank: int, own: str) -> str:
    """The answer to a question that nobody has asked before is not one of an earlier start."""
    lobby.set(f"asks/{rank}", own)
    name = lobby.get(f"answer/{own}").decode()
    lobby.set(f"heard/{name}/{rank}", "")
    return name

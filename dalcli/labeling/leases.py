"""Who is looking at which image: nobody else is shown it until it is answered, given back, or the lease has run out.

Leases are in memory alone: they save two people the same work, and a killed server loses nothing else. One server at a
time works on a workspace (``run.py`` holds a lock), so there is one place where they can be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dalcli.labeling.tasks import Task, Work

LEASE_SECONDS = 300.0
"""From the last sign of life of the page that shows the image."""


@dataclass
class _Lease:
    until: float
    current: int | None = None
    next: int | None = None


class Leases:
    """At most one image for each page, and a preference for the one after it, which the page loads ahead."""

    def __init__(self, seconds: float = LEASE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._leases: dict[str, _Lease] = {}

    def hold(self, page: str, work: Work, annotator: str) -> list[Task]:
        """The image for ``page`` and the one that probably follows; fewer where others hold the rest.

        What the page holds it keeps, as long as it is waiting; then it gets what it was promised.
        """
        self._forget_expired()
        mine = self._leases.setdefault(page, _Lease(0.0))
        mine.until = self._clock() + self._seconds
        others = [lease for name, lease in self._leases.items() if name != page]
        held = {lease.current for lease in others}
        wanted = {lease.next for lease in others}

        def free(but: set[int | None]) -> Iterator[Task]:
            return (task for task in work.waiting(annotator) if task.sample not in held and task.sample not in but)

        own = (sample for sample in (mine.current, mine.next) if sample is not None and sample not in held)
        kept = (work.tasks[sample] for sample in own if work.is_waiting(sample, annotator))
        # Somebody else may hope for it next: whoever has nothing comes first.
        current = next(kept, None) or next(free(wanted), None) or next(free(set()), None)
        following = None if current is None else next(free(wanted | {current.sample}), None)
        mine.current = None if current is None else current.sample
        mine.next = None if following is None else following.sample
        return [task for task in (current, following) if task is not None]

    def take(self, page: str, sample: int) -> None:
        """``page`` wants this image now: it was there before."""
        for lease in self._leases.values():
            if lease.current == sample:
                lease.current = None
        mine = self._leases.setdefault(page, _Lease(0.0))
        mine.until = self._clock() + self._seconds
        mine.current, mine.next = sample, mine.current

    def give_back(self, page: str) -> None:
        """The page was closed."""
        self._leases.pop(page, None)

    def held_by_others(self, page: str) -> int:
        """How many images other pages hold."""
        self._forget_expired()
        return sum(lease.current is not None for name, lease in self._leases.items() if name != page)

    def _forget_expired(self) -> None:
        now = self._clock()
        for page in [page for page, lease in self._leases.items() if lease.until <= now]:
            del self._leases[page]

"""A strategy with a memory, as a strategy like any other."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dalcli.strategies.base import Remembering, Request, Selection


@dataclass(frozen=True)
class Remembered:
    """Hands the request's memory and answers on, and the new memory back with the selection."""

    strategy: Remembering

    @property
    def columns(self) -> tuple[str, ...]:
        return self.strategy.columns

    def select(self, request: Request) -> Selection:
        selection, memory = self.strategy.select(request, request.memory, request.answers)
        return replace(selection, memory=memory)

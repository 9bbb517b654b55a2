"""How the processes of a torchrun share a job: rank 0 announces it as one value, and then every rank does the same.

Only rank 0 has a database and speaks. The others see the workspace's files (models, images, the pixel cache) and follow
until there are no more jobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from pydantic import BaseModel, ConfigDict, JsonValue

import dalcli
from dalcli.config.schema import Config
from dalcli.errors import DalcliError
from dalcli.runtime.ranks import Ranks


class Job(BaseModel):
    """What one process has all of them do, for subclasses to say what: a value that goes to the others as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    dalcli: str = dalcli.__version__
    config: Config

    def announce(self, ranks: Ranks) -> None:
        """Let the others begin; for rank 0."""
        if ranks.size > 1:
            ranks.broadcast(self.model_dump())

    @classmethod
    def received(cls, document: JsonValue) -> Self:
        """The job that rank 0 announced.

        Raises:
            DalcliError: by another version of dalcli, which may mean something else.
        """
        theirs = document.get("dalcli") if isinstance(document, dict) else None
        if theirs != dalcli.__version__:
            raise DalcliError(
                f"dalcli {dalcli.__version__} is installed here, but {theirs} where process 0 runs",
                "install the same version on all machines",
            )
        return cls.model_validate(document)


def announced(ranks: Ranks) -> Iterator[JsonValue]:
    """The jobs that rank 0 announces, until it is done; for all others."""
    while (document := ranks.broadcast()) is not None:
        yield document


def no_more(ranks: Ranks) -> None:
    """The others may go; for rank 0."""
    ranks.broadcast(None)

"""What the page and the server say to each other, as JSON; anything else that a browser sends is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from dalcli.labeling.request import Guesses

SampleId = Annotated[str, StringConstraints(pattern=r"^s-[0-9a-f]{32}$")]
_NO_CONTROL = r"^[^\x00-\x1f\x7f-\x9f]*$"
Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100, pattern=_NO_CONTROL)]
PageId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
DAY = 86_400.0


class Visit(BaseModel):
    """Who asks: a page (a random id for as long as it is loaded) and the annotator it labels for."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    page: PageId
    annotator: Name = ""


class Answer(Visit):
    """One answer: a class by name, a class that is missing, or neither (skipped); ``seconds`` of looking at it."""

    sample: SampleId
    label: Annotated[str, Field(max_length=1000)] | None = None
    proposal: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)] | None = None
    seconds: Annotated[float, Field(ge=0, le=DAY, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _one_answer(self) -> Answer:
        if self.label is not None and self.proposal is not None:
            raise ValueError("either a class or a proposal, not both")
        return self


class Undo(Visit):
    """Take back the answer that was recorded as this vote."""

    vote: Annotated[int, Field(ge=1, lt=2**63)]


@dataclass(frozen=True)
class Said:
    """What an annotator said about a disputed sample; ``label`` None is a skip."""

    annotator: str
    label: str | None
    at: str


@dataclass(frozen=True)
class Item:
    """An image to be labeled; ``guess`` is the model's, ``said`` are the votes of a disputed sample."""

    sample: str
    batch: str
    guess: str | None
    confidence: float | None
    said: tuple[Said, ...]


@dataclass(frozen=True)
class Standing:
    """How far the work is. ``mine``, ``an_hour``: answers of this annotator in this run, and their pace, if known."""

    done: int
    total: int
    elsewhere: int
    mine: int
    an_hour: float | None
    guesses: Guesses


@dataclass(frozen=True)
class Reply:
    """The image to show now, the one that probably follows, and where things stand.

    ``vote``: what the answer was recorded as. ``classes``: changes with the list of classes.
    """

    items: tuple[Item, ...]
    standing: Standing
    classes: str
    vote: int | None = None


@dataclass(frozen=True)
class Setup:
    """What a page needs once: the classes in their order, and how to name whoever labels."""

    classes: tuple[str, ...]
    version: str
    annotator: str
    relabel: bool

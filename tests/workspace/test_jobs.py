"""A job goes to the other processes as JSON, and is there what it was here; one of another version is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import dalcli
from dalcli.config.schema import Config
from dalcli.errors import DalcliError
from dalcli.runtime.ranks import SOLO, Ranks
from dalcli.workspace.images import Listing
from dalcli.workspace.jobs import Job, announced, no_more
from tests.rank_groups import Agent, agent


class Errand(Job):
    """A job of a test's own."""

    images: Listing
    text: str = ""


AWKWARD = Config.model_validate({"query": {"gamma": float("inf")}, "seed": 2**63 - 1, "data": {"resize": "pad"}})
ERRANDS = [
    Errand(config=Config(), images=[]),
    Errand(config=AWKWARD, images=[(1, "s-00", "photos/γ \udcff\n.png"), (2, "s-01", "")], text="é\x00"),
]


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "agent") as started:
        yield started


@pytest.mark.parametrize("errand", ERRANDS)
def test_what_arrives_is_what_was_sent(errand: Errand) -> None:
    document = json.loads(json.dumps(errand.model_dump()))
    found = Errand.received(document)
    assert found == errand
    assert type(found.images) is type(errand.images)
    assert Errand.received(json.loads(json.dumps(found.model_dump()))) == errand


def test_what_is_not_known_is_refused() -> None:
    document: dict[str, Any] = json.loads(json.dumps(ERRANDS[0].model_dump()))
    for wrong in (
        document | {"surprise": 1},
        document | {"config": document["config"] | {"surprise": 1}},
        {name: value for name, value in document.items() if name != "images"},
        document | {"images": [[1, "s-00"]]},
    ):
        with pytest.raises(ValidationError):
            Errand.received(wrong)
    with pytest.raises(ValidationError, match="frozen"):
        ERRANDS[0].text = "other"  # type: ignore[misc]


@pytest.mark.parametrize("document", [None, 5, [], {}, {"dalcli": "0.0.1", "what": "only that version knows"}])
def test_another_version_may_mean_something_else(document: Any) -> None:
    theirs = document.get("dalcli") if isinstance(document, dict) else None
    with pytest.raises(DalcliError, match=f"dalcli {dalcli.__version__} is installed here, but {theirs} where") as told:
        Errand.received(document)
    assert "the same version on all machines" in str(told.value.remedy)


def converse(ranks: Ranks) -> list[Errand]:
    """Rank 0 announces all errands; what the others received."""
    if not ranks.main:
        return [Errand.received(document) for document in announced(ranks)]
    for errand in ERRANDS:
        errand.announce(ranks)
    no_more(ranks)
    return []


def test_all_receive_what_rank_0_announces_until_there_is_no_more(group: Agent) -> None:
    assert group.run(3, converse) == [[], ERRANDS, ERRANDS]


def test_alone_nothing_is_announced() -> None:
    assert converse(SOLO) == []
    assert list(announced(SOLO)) == []

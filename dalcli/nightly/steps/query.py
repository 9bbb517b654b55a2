"""Hand out the next batch, unless the plan says stop; write the file of one that is out again where it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dalcli.commands import query
from dalcli.config.words import counted
from dalcli.errors import NothingLeftError
from dalcli.nightly import output
from dalcli.nightly.step import Done, Need, Night, Step
from dalcli.state import batches, catalog
from dalcli.state.batches import Batch
from dalcli.state.catalog import Purpose

STOP = frozenset({"target-reached", "infeasible"})


@dataclass(frozen=True)
class _Order:
    """What to do about samples of one purpose; ``budget`` 0 and no ``batch``: nothing."""

    purpose: Purpose
    file: Path
    why: str
    budget: int = 0
    batch: Batch | None = None

    @property
    def needed(self) -> bool:
        return self.batch is not None or self.budget > 0


def _needed(night: Night) -> Need:
    orders = list(_orders(night))
    return Need(any(order.needed for order in orders), "; ".join(order.why for order in orders if order.why))


def _orders(night: Night) -> Iterator[_Order]:
    with night.session.database.read() as connection:
        states = catalog.count_states(connection)
        out = {batch.purpose: batch for batch in batches.open_batches(connection) if not batch.relabel}
    evaluation = _evaluation(night, states["evaluation"]["unlabeled"], out.get("evaluation"))
    if evaluation is not None:
        yield evaluation
    evaluating = evaluation is not None and night.options.evaluation_budget is not None
    yield _training(night, states["training"]["unlabeled"], out.get("training"), evaluating)


def _evaluation(night: Night, unlabeled: int, out: Batch | None) -> _Order | None:
    """Evaluation samples go out where the plan asks for them, and the configuration says how many."""
    file, budget = output.beside(night.options.output), night.options.evaluation_budget
    if out is not None:
        return None if budget is None else _again(night, "evaluation", file, out)
    if night.verdict != "need-evaluation-labels" or not unlabeled:
        return None
    if budget is None:
        return _Order("evaluation", file, "no evaluation samples go out: run.evaluation_budget is not set")
    return _Order("evaluation", file, f"{counted(min(budget, unlabeled), 'evaluation sample')}", budget)


def _training(night: Night, unlabeled: int, out: Batch | None, evaluating: bool) -> _Order:
    file, budget = night.options.output, night.options.budget
    if night.verdict in STOP:
        return _Order("training", file, f"no batch goes out: {night.verdict}: {night.reason}")
    if out is not None:
        return _again(night, "training", file, out)
    if night.verdict == "need-evaluation-labels" and evaluating and _has_model(night):
        return _Order("training", file, "no training batch goes out before more is measured")
    if not unlabeled:
        return _Order("training", file, "no unlabeled sample is left")
    return _Order("training", file, f"{counted(min(budget, unlabeled), 'sample')} to be labeled", budget)


def _has_model(night: Night) -> bool:
    from dalcli.state import versions

    with night.session.database.read() as connection:
        return versions.newest(connection) is not None


def _again(night: Night, purpose: Purpose, file: Path, batch: Batch) -> _Order:
    """A batch is out: nothing follows it before it comes back."""
    answered = f"batch {batch.batch_id} is out: {batch.answered} of {batch.issued} answered"
    if output.look(night.session, file, batch) == "there":
        return _Order(purpose, file, answered)
    return _Order(purpose, file, f"{answered}; {_shown(night, file)} is written again", batch=batch)


def _run(night: Night) -> Done:
    said, issued = list[str](), list[dict[str, object]]()
    for order in [order for order in _orders(night) if order.needed]:
        if order.batch is not None:
            data, batch, again = output.printed(night.session, order.batch), order.batch.batch_id, True
        else:
            options = query.Options(
                budget=order.budget,
                purpose=order.purpose,
                format=night.config.format,
                image_url=night.config.image_url,
                wait=night.options.wait,
            )
            try:
                found = query.run(night.session, options)
            except NothingLeftError as error:
                said.append(error.message)
                continue
            data, batch, again = found.data, found.batch_id, False
        aside = output.write(night.session, order.file, data)
        shown = _shown(night, order.file)
        said.append(f"{batch} {'written again' if again else 'issued'}: {shown}")
        issued.append({"batch_id": batch, "purpose": order.purpose, "file": shown, "again": again})
        if aside is not None:
            issued[-1]["set_aside"] = _shown(night, aside)
    return Done("; ".join(said), {"batches": issued}, changed=bool(issued))


def _shown(night: Night, path: Path) -> str:
    return night.session.workspace.stored_path(path)


STEP = Step("query", _needed, _run, after=("plan",), requires=("train", "score", "evaluate", "plan"))

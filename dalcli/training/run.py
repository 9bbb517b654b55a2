"""``train``: a new model version from the labels there are now. Imports torch only if there is something to train."""

from __future__ import annotations

from dataclasses import dataclass

from dalcli.models.spec import ModelSpec
from dalcli.runtime.ranks import SOLO, Ranks
from dalcli.state.lock import compute_lock
from dalcli.state.versions import ModelVersion
from dalcli.training.plan import TrainPlan, make_plan, warn_of_unlabeled_classes
from dalcli.workspace.jobs import no_more
from dalcli.workspace.session import Session


@dataclass(frozen=True)
class TrainResult:
    """The newest version; the same whether it was trained now or before."""

    model: ModelVersion
    architecture: str


def train(session: Session, wait: float = 0.0, ranks: Ranks = SOLO) -> TrainResult:
    """Train to convergence, or say that the newest version is up to date.

    Under torchrun this is rank 0's part; the others run ``training.job.serve``, which ends when this has.

    Raises:
        NotReadyError: there are no labels.
        LockedError: another ``train`` or ``score`` is running.
        BadInputError: the model cannot be built, or the device is not there.
        DalcliError: training diverged, or most of the labeled images are missing.
    """
    result = _train(session, wait, ranks)
    no_more(ranks)
    return result


def _train(session: Session, wait: float, ranks: Ranks) -> TrainResult:
    plan = make_plan(session)
    if plan.done is not None:
        return _up_to_date(session, plan, plan.done)
    from dalcli.training.version import LabeledSetChanged, check, train_version

    device = check(session, plan, ranks)
    with compute_lock(session.workspace.lock_path, "train", wait):
        warned = False
        while True:
            plan = make_plan(session)  # another process may have trained while this one waited
            if plan.done is not None:
                return _up_to_date(session, plan, plan.done)
            if not warned:
                warn_of_unlabeled_classes(plan, session.feedback)
                warned = True
            try:
                return _result(train_version(session, plan, device, ranks), plan.spec)
            except LabeledSetChanged:
                continue


def _up_to_date(session: Session, plan: TrainPlan, version: ModelVersion) -> TrainResult:
    session.feedback.note(f"up to date: {version.version} was trained on all {version.labels} labels")
    return _result(version, plan.spec)


def _result(version: ModelVersion, spec: ModelSpec) -> TrainResult:
    height, width = spec.image_size
    head = "" if spec.frozen is None else "the head of "
    return TrainResult(version, f"{head}{spec.name} at {height}×{width}")

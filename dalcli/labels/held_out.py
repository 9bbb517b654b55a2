"""Predictions of heads that have not seen the label in question: five folds, each judged by the other four."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dalcli.data.network import to_json
from dalcli.errors import NotReadyError
from dalcli.state import catalog, ledger, versions
from dalcli.training.head import held_out
from dalcli.training.plan import make_plan
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import Session


def head_predictions(session: Session) -> tuple[list[int], NDArray[np.float64]]:
    """Sample keys and (n, K) probabilities of all labeled training images that can be read.

    The penalty is that of the newest head on this network; before there is one, it is chosen as ``train`` would.

    Raises:
        NotReadyError: there are no labels, or none of the images can be read.
        BadInputError: the frozen network cannot be had.
    """
    plan = make_plan(session)
    assert plan.spec.frozen is not None
    with session.database.read() as connection:
        labels = ledger.labels(connection, "training")
        images = [image for image in catalog.images(connection, "training") if image.key in labels]
        newest = versions.newest(connection)
    with PoolImages.open(session, images, plan.spec.seen) as opened:
        if not len(opened):
            raise NotReadyError("none of the labeled images can be read", "see `dalcli pool quarantine`")
        known = newest is not None and newest.network == to_json(plan.spec.frozen)
        penalty = newest.penalty if newest is not None and known else None
        return held_out(session, plan.spec, opened, labels, penalty)

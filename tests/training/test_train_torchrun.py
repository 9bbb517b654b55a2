"""``torchrun -m dalcli train``: the model one process would train, whichever process is killed or fails."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dalcli.errors import DalcliError, PeerError
from dalcli.feedback import SilentFeedback
from dalcli.runtime.ranks import Ranks
from dalcli.training import loop
from dalcli.training import run as training
from dalcli.training.job import serve
from dalcli.workspace import images
from dalcli.workspace.session import open_session
from tests.small_pools import SmallPool, copied, make_pool, same_weights
from tests.torchruns import run
from tests.train_groups import in_group, one_thread

LABELED = 21
SETTINGS: dict[str, dict[str, Any]] = {
    "model": {"name": "own:net", "dropout": 0.0},
    "training": {"max_epochs": 10, "hold_epochs": 10, "batch_size": 7, "learning_rate": 0.02},
    "evaluation": {"reserve": 0.0},
}
# A model that kills its process, or fails, in the n-th training step: the file ``disturb`` says "rank step how".
MODEL = """
import os, signal
from pathlib import Path

from torch import nn

DISTURB = Path(__file__).parent / "disturb"

class Net(nn.Sequential):
    steps = 0

    def forward(self, images):
        self.steps += self.training
        if self.training and DISTURB.exists():
            rank, step, how = DISTURB.read_text().split()
            if (os.environ["RANK"], str(self.steps)) == (rank, step):
                DISTURB.unlink()  # once
                if how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise RuntimeError("can't allocate memory: you tried to allocate 1 bytes")
        return super().forward(images)

def net(num_classes, image_size):
    features = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    return Net(*features, nn.Linear(32, num_classes))
"""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Any:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def _labeled(tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    root = tmp_path_factory.mktemp("labeled") / "w"
    root.mkdir()
    (root / "own.py").write_text(MODEL)
    pool = make_pool(root, LABELED, **SETTINGS)
    pool.label(pool.pool())
    return pool


@pytest.fixture
def labeled(_labeled: SmallPool, tmp_path: Path) -> SmallPool:
    return copied(_labeled, tmp_path / "labeled")


def disturb(pool: SmallPool, rank: int, step: int, how: str) -> None:
    (pool.root / "disturb").write_text(f"{rank} {step} {how}")


def comparable(meta: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on the number of processes; figures apart."""
    return {key: value for key, value in meta.items() if key not in {"ranks", "history", "train_loss"}}


def test_the_model_is_that_of_one_process_and_a_killed_group_ends_in_the_same_bits(
    labeled: SmallPool, tmp_path: Path
) -> None:
    alone, killed = copied(labeled, tmp_path / "alone"), copied(labeled, tmp_path / "killed")
    printed = alone.ok("train").out
    whole = run(labeled, "train")
    assert (whole.code, whole.out, whole.errors) == (0, printed, []), whole.err
    assert comparable(labeled.meta()) == comparable(alone.meta())
    assert (labeled.meta()["ranks"], alone.meta()["ranks"]) == (2, 1)
    for got, expected in zip(labeled.meta()["history"], alone.meta()["history"], strict=True):
        assert got == pytest.approx(expected, abs=1e-4)
    for name, expected in alone.weights().items():
        np.testing.assert_allclose(labeled.weights()[name], expected, rtol=1e-4, atol=1e-4)

    disturb(killed, rank=1, step=17, how="kill")  # in the sixth epoch of three steps each
    restarted = run(killed, "train", restarts=1)
    assert (restarted.code, restarted.out) == (0, printed), restarted.err
    assert not (killed.root / "disturb").exists()
    assert "continuing m-0001, which was interrupted" in restarted.err
    assert {path.name for path in killed.version().iterdir()} == {"model.safetensors", "meta.json"}
    assert same_weights(killed.weights(), labeled.weights())
    assert killed.meta() == labeled.meta()


def test_a_failure_of_another_process_is_one_error_and_nothing_is_lost(labeled: SmallPool) -> None:
    disturb(labeled, rank=1, step=17, how="fail")
    failed = run(labeled, "train")
    assert failed.code != 0
    assert failed.out == ""
    assert "Traceback (most recent call last):\n  File" not in re.sub(
        r"(?s)\nTraceback.*ChildFailedError.*", "", failed.err
    )
    assert any("training ran out of memory on cpu with batches of 7" in error for error in failed.errors), failed.err
    assert labeled.json("status")["model"] is None
    assert "continuing m-0001" in labeled.ok("train").err


Told = tuple[str, list[str]]


class Listening(SilentFeedback):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def note(self, message: str) -> None:
        self.heard.append(message)

    warn = note


def command(ranks: Ranks, root: Path, setup: Any = None) -> Told:
    """What the command line does, in a group without torchrun: its error, if any, and rank 0's feedback."""
    if setup is not None:
        setup(ranks, root)
    feedback = Listening()
    try:
        if ranks.main:
            with open_session(root, feedback) as session:
                training.train(session, ranks=ranks)
        else:
            serve(root, ranks)
    except DalcliError as error:
        return f"{type(error).__name__}: {error.message}", feedback.heard
    return "", feedback.heard


def loses_an_image(ranks: Ranks, root: Path) -> None:
    """In the third epoch; images are read from their files in every one."""
    images.KEPT_BYTES = 0
    original, calls = loop.train_epoch, []

    def train_epoch(*args: Any) -> float:
        calls.append(1)
        if ranks.main and len(calls) == 3:
            next((root / "photos").glob("red-*")).unlink()
        return original(*args)

    loop.train_epoch = train_epoch


def test_an_image_lost_while_training_is_set_aside_and_training_starts_over(labeled: SmallPool, tmp_path: Path) -> None:
    labeled.configure(**SETTINGS, data={"cache": False})
    (error, heard), (other, _) = in_group(2, tmp_path / "group", command, labeled.root, loses_an_image)
    assert (error, other) == ("", "")
    assert any("1 image can no longer be read" in line for line in heard)
    assert labeled.meta()["labels"] == LABELED - 1
    assert labeled.json("status")["model"]["labels"] == LABELED - 1


def sees_no_model(ranks: Ranks, root: Path) -> None:
    """As on a machine where the user's code is another one."""
    if ranks.rank == 1:
        from dalcli.models import zoo

        zoo.build = lambda *_: (_ for _ in ()).throw(DalcliError("own.py: no such file"))


def test_where_another_process_cannot_begin_rank_0_says_why(labeled: SmallPool, tmp_path: Path) -> None:
    (error, _), (other, _) = in_group(2, tmp_path / "group", command, labeled.root, sees_no_model)
    assert error.startswith(PeerError.__name__)
    assert error.endswith("own.py: no such file")
    assert other.startswith("ToldError")


def sees_other_files(ranks: Ranks, root: Path) -> None:
    if ranks.rank == 1:
        from dalcli.state.workspace import Workspace

        Workspace.absolute_names = lambda self, stored: [str(self.root / "elsewhere" / path) for path in stored]


def test_where_another_machine_does_not_see_the_images_nothing_is_set_aside(labeled: SmallPool, tmp_path: Path) -> None:
    labeled.configure(**SETTINGS, data={"cache": False})
    (error, _), (other, _) = in_group(2, tmp_path / "group", command, labeled.root, sees_other_files)
    assert "another process cannot read" in error
    assert other  # it does not wait for ever
    assert labeled.pool("quarantined") == []

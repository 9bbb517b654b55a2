"""Several processes that know each other: what they say arrives, and the end of one is the end of all, said once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dalcli.errors import BadInputError, DalcliError, ExitCode
from dalcli.runtime.launch import launched
from dalcli.runtime.ranks import SOLO, Ranks, joined
from tests.rank_groups import Agent, Raised, agent

VALUES = [None, 0, -1.5, float("inf"), "γ \udcff\n", [], {"a": [1, {"b": None}], "": "x" * 100_000}]


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "agent") as started:
        yield started


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):  # left by something else
        monkeypatch.setenv(name, "3")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert launched() == (0, 1)
    with joined() as ranks:
        assert ranks == SOLO
    tensor = torch.tensor([2.0])
    SOLO.sum([tensor])
    SOLO.share([tensor])
    assert tensor.item() == 2.0
    assert SOLO.broadcast(VALUES) is VALUES
    assert SOLO.gather(1) == [1]
    with pytest.raises(ZeroDivisionError), SOLO.agreed():
        raise ZeroDivisionError


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_parts_are_even_consecutive_and_complete(size: int, count: int) -> None:
    parts = [Ranks(rank, size).part(count) for rank in range(size)]
    assert [number for part in parts for number in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def exchange(ranks: Ranks) -> dict[str, Any]:
    heard = [ranks.broadcast(value if ranks.main else "not this") for value in VALUES]
    gathered = ranks.gather({"rank": ranks.rank, "text": "é" * 10**ranks.rank})
    with ranks.agreed():  # nobody fails: nothing happens
        together = ranks.gather_numbers(ranks.rank * 10)
    total = [torch.full((3,), 0.1 * (ranks.rank + 1), dtype=torch.float64), torch.tensor(ranks.rank)]
    ranks.sum(total)
    shared = [torch.full((2, 2), float(ranks.rank) + 7), torch.tensor([ranks.rank])]
    kernel = torch.arange(24.0).view(1, 3, 2, 4) + ranks.rank
    shared.append(kernel.contiguous(memory_format=torch.channels_last) if ranks.main else kernel)
    ranks.share(shared)
    ranks.sum([])
    return {
        "rank": (ranks.rank, ranks.size, ranks.main),
        "heard": heard,
        "gathered": gathered,
        "together": [list(numbers) for numbers in together],
        "total": [value.tolist() for value in total],
        "shared": [value.tolist() for value in shared],
    }


@pytest.mark.parametrize("size", [2, 3])
def test_what_is_said_arrives_everywhere(group: Agent, size: int) -> None:
    found = group.run(size, exchange)
    assert [one.pop("rank") for one in found] == [(rank, size, rank == 0) for rank in range(size)]
    assert all(one == found[0] for one in found)
    assert found[0]["heard"] == VALUES
    assert found[0]["gathered"] == [{"rank": rank, "text": "é" * 10**rank} for rank in range(size)]
    assert found[0]["together"] == [[10 * rank] for rank in range(size)]
    expected = sum(0.1 * (rank + 1) for rank in range(size))
    assert found[0]["total"] == [pytest.approx([expected] * 3, rel=1e-15), size * (size - 1) // 2]
    assert found[0]["shared"] == [[[7.0, 7.0], [7.0, 7.0]], [0], torch.arange(24.0).view(1, 3, 2, 4).tolist()]


def fail(ranks: Ranks, where: list[int], error: Exception) -> list[int]:
    with ranks.agreed():
        if ranks.rank in where:
            raise error
    return [int(number) for (number,) in ranks.gather_numbers(ranks.rank)]


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        (BadInputError("no such thing", "mend it"), "no such thing\nmend it", ExitCode.BAD_INPUT),
        (OSError(28, "No space left on device", "file"), "file: No space left on device", ExitCode.FAILED),
        (MemoryError(), "out of memory\nlower training.batch_size", ExitCode.FAILED),
        (KeyError("name"), "a bug in dalcli: KeyError: 'name'\nits traceback is in", ExitCode.BUG),
    ],
)
def test_rank_0_tells_what_failed_elsewhere(group: Agent, error: Exception, text: str, code: ExitCode) -> None:
    first, second, third = group.run(3, fail, [1], error)
    assert (first.name, first.code) == ("PeerError", code)
    assert first.text.startswith("process 1 on ")
    assert text in first.text
    assert [(one.name, one.code) for one in (second, third)] == [("ToldError", ExitCode.FAILED)] * 2


def test_what_fails_everywhere_is_told_as_it_is(group: Agent) -> None:
    first, second = group.run(2, fail, [0, 1], DalcliError("everywhere"))
    assert first == Raised("DalcliError", "everywhere", ExitCode.FAILED)
    assert second.name == "ToldError"


def die(ranks: Ranks, victim: int) -> None:
    ranks.broadcast(1)
    if ranks.rank == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    ranks.gather(2)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_others_and_is_told_once(group: Agent, victim: int) -> None:
    found = group.run(3, die, victim)  # which fails if one of them still waits for the killed one
    assert found.pop(victim) == -signal.SIGKILL
    speaker, silent = found
    assert (speaker.name, speaker.code) == ("DalcliError", ExitCode.FAILED)
    assert "another process of this torchrun is gone (" in speaker.text
    assert len(speaker.text.splitlines()) == 2
    assert silent.name == "ToldError"


def give_up(ranks: Ranks) -> None:
    if ranks.main:
        raise DalcliError("rank 0 knows why")
    ranks.broadcast()


def test_when_rank_0_gives_up_the_others_are_silent(group: Agent) -> None:
    assert [one.name for one in group.run(3, give_up)] == ["DalcliError", "ToldError", "ToldError"]


def test_after_a_kill_the_next_start_does_not_look_for_the_dead(group: Agent) -> None:
    # torchrun's store still has the addresses of the processes before.
    for _ in range(3):
        group.run(2, die, 0)
        found = group.run(2, exchange)
        assert [one["together"] for one in found] == [[[0], [10]]] * 2


class Woken(BaseException):
    pass


def wait_for_signal(ranks: Ranks, number: int, done: Path) -> str:
    if ranks.main:  # never answers: without the signal both would wait for ever
        while not done.exists():
            time.sleep(0.01)
        return "waited for"

    def wake(*_: object) -> None:
        raise Woken

    signal.signal(number, wake)
    threading.Timer(0.3, os.kill, (os.getpid(), number)).start()
    try:
        ranks.gather(None)
    except Woken:
        return "woken"
    finally:
        done.touch()
    raise AssertionError("nobody answered")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_waits_for_the_others_notices_signals(group: Agent, tmp_path: Path, number: int) -> None:
    assert group.run(2, wait_for_signal, number, tmp_path / "done") == ["waited for", "woken"]


def devices(ranks: Ranks, name: str) -> str:
    return str(ranks.device(name))


def test_every_rank_computes_on_the_processor_where_there_is_no_gpu(group: Agent) -> None:
    assert group.run(2, devices, "cpu") == ["cpu", "cpu"]


@pytest.mark.parametrize(("local_rank", "expected"), [(0, "cuda:0"), (1, "cuda:1"), (2, "cuda:0")])
def test_each_rank_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch, local_rank: int, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_RANK", str(local_rank))
    ranks = Ranks(5, 8)
    assert {str(ranks.device(name)) for name in ("auto", "cuda")} == {expected}
    with pytest.raises(BadInputError, match="device: cuda:1 is one GPU for all 8 processes"):
        ranks.device("cuda:1")
    assert str(SOLO.device("cuda:1")) == "cuda:1"

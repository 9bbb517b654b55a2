"""Several people: different images for each, until a lease runs out, and no answer is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from dalcli_runner import ok
from hypothesis import given, settings
from hypothesis import strategies as st
from label_pages import Person, handed_out, serving
from workspaces import ask

from dalcli.labeling.leases import Leases
from dalcli.labeling.request import Guesses
from dalcli.labeling.tasks import Task


class Work:
    """What is left of a batch, as far as leases need to know."""

    def __init__(self, count: int) -> None:
        self.tasks = {number: Task(number, f"s-{number}") for number in range(count)}
        self.out = dict(self.tasks)

    def waiting(self, annotator: str) -> Iterator[Task]:
        return iter(self.out.values())

    def is_waiting(self, sample: int, annotator: str) -> bool:
        return sample in self.out

    def read(self, connection: object) -> None: ...
    def read_again(self, connection: object, sample: int) -> None: ...
    def answered(self, connection: object, task: Task, label: int | None) -> None: ...
    def progress(self, annotator: str) -> tuple[int, int]:
        return 0, 0

    def guesses(self) -> Guesses:
        return Guesses(0, 0)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def held(leases: Leases, work: Work, page: str) -> list[int]:
    return [task.sample for task in leases.hold(page, work, "")]


def test_two_pages_get_different_images_and_keep_them() -> None:
    work, leases = Work(5), Leases()
    assert held(leases, work, "a") == [0, 1]
    assert held(leases, work, "b") == [2, 3]
    assert held(leases, work, "a") == [0, 1]
    del work.out[0]
    assert held(leases, work, "a") == [1, 4]
    assert leases.held_by_others("a") == 1


def test_the_last_images_go_to_who_has_none() -> None:
    work, leases = Work(2), Leases()
    assert held(leases, work, "a") == [0, 1]
    assert held(leases, work, "b") == [1]
    del work.out[0]
    assert held(leases, work, "a") == []


def test_a_lease_runs_out_unless_its_page_is_alive() -> None:
    clock = Clock()
    work, leases = Work(2), Leases(10, clock)
    held(leases, work, "a")
    held(leases, work, "b")
    clock.now = 9
    held(leases, work, "a")
    clock.now = 12
    assert held(leases, work, "c") == [1]  # b was last heard of 12 seconds ago
    assert held(leases, work, "b") == []


def test_what_is_given_back_or_taken_is_to_be_had_at_once() -> None:
    work, leases = Work(2), Leases()
    held(leases, work, "a")
    assert held(leases, work, "b") == [1]
    leases.give_back("a")
    assert held(leases, work, "c") == [0]
    leases.take("b", 0)
    assert held(leases, work, "b")[0] == 0
    assert held(leases, work, "c") == [1]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["next", "answer", "leave", "wait"])), max_size=40))
def test_no_image_is_ever_held_twice_and_every_image_is_reached(steps: list[tuple[str, str]]) -> None:
    clock = Clock()
    work, leases = Work(6), Leases(10, clock)
    current: dict[str, tuple[int, float]] = {}
    for page, what in steps:
        if what == "wait":
            clock.now += 4
        elif what == "leave":
            leases.give_back(page)
            current.pop(page, None)
        else:
            if what == "answer" and page in current:
                work.out.pop(current[page][0], None)
            now = held(leases, work, page)
            current.pop(page, None)
            if now:
                current[page] = (now[0], clock.now + 10)
            alive = [sample for sample, until in current.values() if until > clock.now]
            assert len(alive) == len(set(alive))
            assert set(now) <= set(work.out)
    clock.now += 11
    for _ in range(6):
        for sample in held(leases, work, "z")[:1]:
            del work.out[sample]
    assert not work.out


def test_a_page_that_is_closed_gives_its_image_back(tmp_path: Path) -> None:
    with serving(handed_out(tmp_path / "w", 2)) as served:
        ann, bob = served.person("ann"), served.person("bob")
        first = ann.looking_at()
        second = bob.looking_at()
        assert {first, second} == {
            row["sample_id"] for row in ok(tmp_path / "w", "batch", "show", "b-0001", "--csv").rows
        }
        reply = served.person("cem").next()
        assert (reply["items"], reply["standing"]["elsewhere"]) == ([], 2)
        assert ann.say("leave").status == 200
        assert served.person("dan").looking_at() == first


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 60, images=70)
    given_answers: dict[str, str] = {}
    clashes: list[str] = []

    def work(person: Person) -> None:
        items = person.next()["items"]
        while items:
            item = items[0]["sample"]
            if item in given_answers:
                clashes.append(item)
            given_answers[item] = person.annotator
            items = person.answer(item, label="cat")["items"]

    with serving(root) as served:
        threads = [threading.Thread(target=work, args=(served.person(f"p{number}"),)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    recorded = ask(root, "SELECT s.sample_id, v.annotator FROM vote AS v JOIN sample AS s ON s.id = v.sample")
    assert clashes == []
    assert dict(recorded) == given_answers
    assert len(recorded) == 60


def test_a_page_that_answers_late_is_heard(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 1)
    with serving(root) as served:
        ann, bob = served.person("ann"), served.person("bob")
        item = ann.looking_at()
        ann.say("leave")
        assert bob.looking_at() == item
        bob.answer(item, label="cat")
        ann.answer(item, label="dog")
    assert ask(root, "SELECT annotator, class FROM latest_vote ORDER BY annotator") == [("ann", 1), ("bob", 0)]
    assert ok(root, "status", "--json").json["states"]["training"]["disputed"] == 1

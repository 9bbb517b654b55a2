"""How soon the labeling page answers many people at once, and whether it loses an answer.

    python benchmarks/label_page.py [--clients 50] [--images 2000] [--think 0.5 0]

A workspace of photographs (640×480, JPEG), all handed out in one batch, and the real `dalcli label` in a process of its
own. Each client does what the page does: it loads the image and the next one, thinks, answers, and goes on with what
the reply says. `think` is the mean of its pause in seconds (drawn evenly from half to one and a half of it); with 0
every client answers as fast as it is answered, which no people do. The server is killed (SIGKILL) while they work; then
every answer that a client was told of must be in the ledger, once, as it was given. Latencies are those of answers,
from the first byte sent to the last received, fsync included; fresh connections, as browsers make them here.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "other")
PROCESSES = 5
ADDRESS = re.compile(r"http://([\d.]+):(\d+)(/\S+/)")


_CONTEXT = multiprocessing.get_context("spawn")
_shared: dict[str, Synchronized[int]] = {}


@dataclass
class Run:
    """What clients saw; ``answers`` are samples and labels, as far as they were told of them."""

    answers: list[tuple[str, str]] = field(default_factory=list)
    answer_ms: list[float] = field(default_factory=list)
    image_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def together(cls, parts: Sequence[Run], seconds: float) -> Run:
        """What all of them saw, in so many seconds."""
        return cls(
            [answer for part in parts for answer in part.answers],
            [each for part in parts for each in part.answer_ms],
            [each for part in parts for each in part.image_ms],
            seconds,
        )

    @property
    def twice(self) -> int:
        """How many images were answered by more than one client."""
        return len(self.answers) - len({sample for sample, _ in self.answers})


def main(arguments: Sequence[str] | None = None) -> None:
    """One line for each pace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--think", type=float, nargs="+", default=[0.5, 0.0])
    options = parser.parse_args(arguments)
    print(f"{options.clients} clients, {options.images:,} images\n")
    header = ("think s", "answers", "a second", "p50 ms", "p95 ms", "p99 ms", "max ms", "image p95", "lost", "twice")
    print("".join(f"{name:>10}" for name in header))
    for think in options.think:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            hand_out(root, options.images)
            found = work(root, options.clients, think)
            lost = check(root, found)
        at = np.percentile(found.answer_ms, [50, 95, 99, 100])
        values = [think, len(found.answers), len(found.answers) / found.seconds, *at, np.percentile(found.image_ms, 95)]
        shown = "".join(f"{value:>10.1f}" for value in values)
        print(f"{shown}{lost:>10}{found.twice:>10}", flush=True)


def dalcli(root: Path, *arguments: str) -> list[str]:
    """A command line for the workspace."""
    return [sys.executable, "-m", "dalcli", "-C", str(root), *arguments]


def hand_out(root: Path, images: int) -> None:
    """A pool of noisy photographs, all of them in one batch."""
    (root / "photos").mkdir()
    (root / "dalcli.yaml").write_text("model:\n  name: cnn\nevaluation:\n  reserve: 0\n")
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (640, 800, 3), dtype=np.uint8)
    for number in range(images):
        top, left = rng.integers(0, 160, 2)
        picture = noise[top : top + 480, left : left + 640] // 4 + np.uint8(number % 190)
        Image.fromarray(picture).save(root / "photos" / f"{number}.jpg", comment=str(number).encode())
    for line in (
        ("init", str(root / "photos"), "--classes", ",".join(CLASSES)),
        ("query", "--budget", str(images), "--strategy", "random"),
    ):
        subprocess.run(dalcli(root, *line), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def work(root: Path, clients: int, think: float) -> Run:
    """Serve, label two thirds of the batch or for half a minute, kill."""
    log = root / "server.log"
    with log.open("wb") as stderr:
        server = subprocess.Popen(dalcli(root, "label"), stdout=subprocess.DEVNULL, stderr=stderr)
    while not (address := ADDRESS.search(log.read_text())):
        assert server.poll() is None, log.read_text()
        time.sleep(0.05)
    images = len(list((root / "photos").iterdir()))
    shares = [range(clients)[first::PROCESSES] for first in range(min(PROCESSES, clients))]
    count = _CONTEXT.Value("i", 0)
    with ProcessPoolExecutor(len(shares), _CONTEXT, initializer=_share, initargs=(count,)) as pool:
        people = [pool.submit(crowd, address.groups(), share, think) for share in shares]
        while count.value < clients:  # all have said hello
            time.sleep(0.01)
        started = time.perf_counter()
        while count.value - clients < 2 * images / 3 and time.perf_counter() - started < 30:
            time.sleep(0.01)
        os.kill(server.pid, signal.SIGKILL)
        seconds = time.perf_counter() - started
        server.wait()
        parts = [each.result() for each in people]
    return Run.together(parts, seconds)


def _share(count: Synchronized[int]) -> None:
    _shared["count"] = count


def crowd(address: tuple[str, str, str], numbers: Sequence[int], think: float) -> Run:
    """Some of the clients, a thread each, until the server has gone."""
    people = [Client(address, think, number) for number in numbers]
    with ThreadPoolExecutor(len(people)) as pool:
        list(pool.map(Client.label, people))
    return Run.together([person.run for person in people], 0.0)


class Client:
    """Somebody who labels, as the page would have it."""

    def __init__(self, address: tuple[str, str, str], think: float, number: int) -> None:
        self.run = Run()
        self._at = address[0], int(address[1])
        self._path = address[2]
        self._think = think
        self._me = {"page": secrets.token_hex(16), "annotator": f"person {number}"}
        self._random = random.Random(number)
        self._loaded: set[str] = set()

    def label(self) -> None:
        """Until nothing is left or the server has gone."""
        try:
            self._label()
        except OSError:
            return

    def _label(self) -> None:
        items = self._post("next", {})["items"]
        _tick()
        time.sleep(self._random.random() * self._think)
        while items:
            for item in items:
                self._image(item["sample"])
            time.sleep(self._think * (0.5 + self._random.random()))
            sample, label = items[0]["sample"], self._random.choice(CLASSES)
            before = time.perf_counter()
            reply = self._post("answer", {"sample": sample, "label": label, "seconds": self._think})
            self.run.answer_ms.append(1000 * (time.perf_counter() - before))
            self.run.answers.append((sample, label))
            _tick()
            items = reply["items"]

    def _image(self, sample: str) -> None:
        if sample in self._loaded:
            return
        before = time.perf_counter()
        body = self._ask(f"GET {self._path}image/{sample} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        self.run.image_ms.append(1000 * (time.perf_counter() - before))
        assert body.startswith(b"\xff\xd8"), body[:100]
        self._loaded.add(sample)

    def _post(self, place: str, message: dict[str, object]) -> dict[str, list[dict[str, str]]]:
        body = json.dumps(self._me | message).encode()
        head = f"POST {self._path}api/{place} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        found = json.loads(self._ask(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body))
        assert "items" in found, found
        return found

    def _ask(self, request: bytes) -> bytes:
        with socket.create_connection(self._at, timeout=30) as connection:
            connection.sendall(request)
            parts = iter(lambda: connection.recv(1 << 20), b"")
            head, _, body = b"".join(parts).partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        if length is None or len(body) < int(length[1]):
            raise ConnectionResetError("the server has gone")
        return body


def _tick() -> None:
    with _shared["count"].get_lock():
        _shared["count"].value += 1


def check(root: Path, found: Run) -> int:
    """How many of the acknowledged answers the ledger does not have exactly once, as they were given."""
    connection = sqlite3.connect(root / ".dalcli" / "state.db")
    rows = connection.execute(
        "SELECT s.sample_id, c.name FROM vote AS v JOIN sample AS s ON s.id = v.sample"
        " JOIN class AS c ON c.position = v.class"
    ).fetchall()
    connection.close()
    recorded: dict[str, list[str]] = {}
    for sample, name in rows:
        recorded.setdefault(sample, []).append(name)
    return sum(recorded.get(sample) != [label] for sample, label in found.answers)


if __name__ == "__main__":
    main()

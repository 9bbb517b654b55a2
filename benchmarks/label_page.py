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
import asyncio
import json
import os
import random
import re
import secrets
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "other")
ADDRESS = re.compile(r"http://([\d.]+):(\d+)(/\S+/)")


@dataclass
class Run:
    """What the clients saw."""

    answers: dict[str, str] = field(default_factory=dict)
    twice: int = 0
    answer_ms: list[float] = field(default_factory=list)
    image_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0


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
            found = asyncio.run(work(root, options.clients, think))
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


async def work(root: Path, clients: int, think: float) -> Run:
    """Serve, label two thirds of the batch or for half a minute, kill."""
    log = root / "server.log"
    with log.open("wb") as stderr:
        server = subprocess.Popen(dalcli(root, "label"), stdout=subprocess.DEVNULL, stderr=stderr)
    while not (address := ADDRESS.search(log.read_text())):
        assert server.poll() is None, log.read_text()
        await asyncio.sleep(0.05)
    host, port, path = address[1], int(address[2]), address[3]
    found, images = Run(), len(list((root / "photos").iterdir()))
    people = [Client(host, port, path, found, think, number) for number in range(clients)]
    started = time.perf_counter()
    tasks = [asyncio.create_task(person.label()) for person in people]
    while len(found.answers) < 2 * images / 3 and time.perf_counter() - started < 30 and not all(map(_done, tasks)):
        await asyncio.sleep(0.01)
    os.kill(server.pid, signal.SIGKILL)
    found.seconds = time.perf_counter() - started
    server.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return found


def _done(task: asyncio.Task[None]) -> bool:
    if task.done() and not task.cancelled() and task.exception() is not None:
        raise task.exception() or AssertionError
    return task.done()


class Client:
    """Somebody who labels, as the page would have it."""

    def __init__(self, host: str, port: int, path: str, run: Run, think: float, number: int) -> None:
        self._at = host, port
        self._path = path
        self._run = run
        self._think = think
        self._me = {"page": secrets.token_hex(16), "annotator": f"person {number}"}
        self._random = random.Random(number)
        self._loaded: set[str] = set()

    async def label(self) -> None:
        """Until nothing is left or the server has gone."""
        await asyncio.sleep(self._random.random() * self._think)
        items = (await self._post("next", {}))["items"]
        while items:
            for item in items:
                await self._image(item["sample"])
            await asyncio.sleep(self._think * (0.5 + self._random.random()))
            sample, label = items[0]["sample"], self._random.choice(CLASSES)
            before = time.perf_counter()
            reply = await self._post("answer", {"sample": sample, "label": label, "seconds": self._think})
            self._run.answer_ms.append(1000 * (time.perf_counter() - before))
            self._run.twice += sample in self._run.answers
            self._run.answers[sample] = label
            items = reply["items"]

    async def _image(self, sample: str) -> None:
        if sample in self._loaded:
            return
        before = time.perf_counter()
        body = await self._ask(f"GET {self._path}image/{sample} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        self._run.image_ms.append(1000 * (time.perf_counter() - before))
        assert body.startswith(b"\xff\xd8"), body[:100]
        self._loaded.add(sample)

    async def _post(self, place: str, message: dict[str, object]) -> dict[str, list[dict[str, str]]]:
        body = json.dumps(self._me | message).encode()
        head = f"POST {self._path}api/{place} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        found = json.loads(await self._ask(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body))
        assert "items" in found, found
        return found  # type: ignore[no-any-return]

    async def _ask(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._at)
        try:
            writer.write(request)
            reply = await reader.read()
        finally:
            writer.close()
        head, _, body = reply.partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        if length is None or len(body) < int(length[1]):
            raise ConnectionResetError("the server has gone")
        return body


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
    return sum(recorded.get(sample) != [label] for sample, label in found.answers.items())


if __name__ == "__main__":
    main()

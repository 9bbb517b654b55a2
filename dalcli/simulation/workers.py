"""Worker processes: each takes one task at a time, and what they say arrives in one queue."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import dalcli

PATIENCE = 5.0  # seconds that a process told to end may take


@dataclass(frozen=True)
class Event:
    """What a worker said: ``round``, ``done`` or ``failed``; ``failed`` also when it died."""

    worker: int
    kind: str
    facts: dict[str, Any]


class Workers:
    """``count`` processes; as a context manager, none of them outlives it."""

    def __init__(self, count: int, threads: int, modules: Sequence[Path] = ()) -> None:
        self._events: queue.Queue[tuple[subprocess.Popen[str], Event]] = queue.Queue()
        self._environment = _environment(threads, modules)
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._free = list(range(count))
        self.busy: set[int] = set()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            process.terminate()  # a killed command is continued: there is nothing to wait for
        for process in self._processes.values():
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()

    @property
    def any_free(self) -> bool:
        """Whether a task could be given now."""
        return bool(self._free)

    def give(self, task: dict[str, Any]) -> int:
        """Start a task; the number of the worker that has it."""
        worker = self._free.pop(0)
        process = self._processes.get(worker)
        if process is None or process.poll() is not None:
            process = self._start(worker)
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
        except OSError:  # it has just died: its reader says so
            pass
        self.busy.add(worker)
        return worker

    def next_event(self) -> Event:
        """What happens next; waits. A worker that is done, or has died, is free again."""
        while True:
            try:
                # A signal interrupts no wait without a limit on some systems.
                process, event = self._events.get(timeout=1.0)
            except queue.Empty:
                continue
            if self._processes[event.worker] is not process:  # it died between two tasks: the next one is another's
                continue
            if event.kind in {"done", "failed"} and event.worker in self.busy:
                self.busy.discard(event.worker)
                self._free.append(event.worker)
                return event
            if event.kind == "round":
                return event

    def _start(self, worker: int) -> subprocess.Popen[str]:
        old = self._processes.get(worker)
        if old is not None:
            for stream in (old.stdin, old.stdout):
                if stream is not None:
                    stream.close()
        process = subprocess.Popen(
            [sys.executable, "-m", "dalcli.simulation.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=self._environment,
            start_new_session=True,  # Ctrl-C in the terminal is for us; we end them
        )
        self._processes[worker] = process
        threading.Thread(target=self._listen, args=(worker, process), daemon=True).start()
        return process

    def _listen(self, worker: int, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                facts = json.loads(line)
                self._events.put((process, Event(worker, facts.pop("event"), facts)))
        except ValueError:  # half a line from a process that was killed, or closed by us
            pass
        code = process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        self._events.put((process, Event(worker, "failed", {"message": f"its process {how}"})))


def _environment(threads: int, modules: Sequence[Path]) -> dict[str, str]:
    """As many threads as a cell is to use, whatever the machine has, and modules found as they are found here."""
    package = Path(dalcli.__file__).resolve().parent.parent
    paths = [str(package), os.environ.get("PYTHONPATH", ""), *map(str, modules)]
    return {
        "GOMP_SPINCOUNT": "1000",
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONSAFEPATH": "1",  # a file called torch.py in the current directory is not meant
    }

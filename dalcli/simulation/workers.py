"""Worker processes: each takes one task at a time, and what they say arrives in one queue."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import dalcli
from dalcli.simulation.tasks import RoundDone, TaskFailed, WorkerEvent, WorkerTask, event_of, line_of

PATIENCE = 5.0  # seconds that a process told to end may take


class Workers:
    """Keeps ``count`` processes busy, each with one task at a time; as a context manager, none of them outlives it."""

    def __init__(self, count: int, threads: int, modules: Sequence[Path] = ()) -> None:
        self._events: queue.Queue[tuple[int, subprocess.Popen[str], WorkerEvent]] = queue.Queue()
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

    def give(self, task: WorkerTask) -> int:
        """Start a task; the number of the worker that has it."""
        worker = self._free.pop(0)
        process = self._processes.get(worker)
        if process is None or process.poll() is not None:
            process = self._start(worker)
        assert process.stdin is not None
        try:
            process.stdin.write(line_of(task))
            process.stdin.flush()
        except OSError:  # it has just died: its reader says so
            pass
        self.busy.add(worker)
        return worker

    def next_event(self) -> tuple[int, WorkerEvent]:
        """Which worker says what next; waits. One that is done, or has failed or died, is free again."""
        while True:
            try:
                # A signal interrupts no wait without a limit on some systems.
                worker, process, event = self._events.get(timeout=1.0)
            except queue.Empty:
                continue
            if self._processes[worker] is not process:  # it died between two tasks: the next one is another's
                continue
            if isinstance(event, RoundDone):
                return worker, event
            if worker in self.busy:
                self.busy.discard(worker)
                self._free.append(worker)
                return worker, event

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
                self._events.put((worker, process, event_of(line)))
        except ValueError:  # half a line from a process that was killed, or closed by us
            pass
        code = process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        self._events.put((worker, process, TaskFailed(f"its process {how}")))


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

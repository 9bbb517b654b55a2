"""MLflow that is not there, does not answer, or is a real server (`make test-mlflow`)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.nights import QUICK, answer, night
from tests.small_pools import SmallPool, copied

PROGRAM = os.environ.get("DALCLI_MLFLOW", "")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def measured(trained: SmallPool) -> SmallPool:
    """m-0001 and eight evaluation labels; nothing is measured."""
    trained.label(trained.pool(purpose="evaluation")[:8])
    (trained.root / "inbox").mkdir()
    return trained


def configure(pool: SmallPool, uri: str, **tracking: Any) -> None:
    pool.configure(run=QUICK, tracking={"mlflow": uri, **tracking})


def test_without_the_extra_the_night_goes_on_and_names_it(measured: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    configure(measured, "http://localhost:5000")
    outcome = measured.run("run", "--budget", "6")
    assert outcome.code == 0
    assert "MLflow is not installed (pip install 'dalcli[mlflow]'): 1 measurement waits" in outcome.err


def test_a_password_in_the_address_is_not_printed(measured: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    configure(measured, "http://ann:secret@localhost:5000/x")
    outcome = measured.run("run", "--budget", "6")
    assert "MLflow at http://localhost:5000/x" in outcome.err
    assert "secret" not in outcome.err + outcome.out + (measured.root / ".dalcli/run/log.jsonl").read_text()


@pytest.mark.parametrize("listening", [False, True], ids=["nobody listens", "nobody answers"])
def test_a_dead_server_never_breaks_a_night(measured: SmallPool, listening: bool) -> None:
    pytest.importorskip("mlflow", reason="needs the extra mlflow: `make test-mlflow` installs it")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listening:
            silent.listen()
        configure(measured, f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=1)
        started = time.monotonic()
        outcome = measured.run("run", "--budget", "6")
        assert time.monotonic() - started < 60
    assert outcome.code == 0, outcome
    assert "1 measurement waits for the next time" in outcome.err
    assert "b-0001 issued" in outcome.out


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow on a SQLite file."""
    if not PROGRAM:
        pytest.skip("needs an MLflow server: `make test-mlflow` installs and names one")
    pytest.importorskip("mlflow")
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [PROGRAM, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/m.db", "--default-artifact-root", str(folder / "artifacts")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(url, process, folder / "log")
        yield url
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(30)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        with suppress(URLError, OSError), urlopen(f"{url}/health", timeout=2) as answered:
            if answered.status == 200:
                return
        time.sleep(0.3)


def history(url: str, experiment: str, metric: str) -> list[tuple[int, float]]:
    """(step, value) of the only run."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=url)
    (run,) = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return [(found.step, found.value) for found in client.get_metric_history(run.info.run_id, metric)]


@pytest.mark.timeout(600)
def test_a_real_server_gets_every_version_once(
    server: str, measured: SmallPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from mlflow.tracking import MlflowClient

    configure(measured, server, experiment="pets & co")
    night(measured)
    answer(measured)
    night(measured)
    night(measured)
    curve = [(point["labels"], point["accuracy"]) for point in measured.json("status")["curve"]]
    assert [labels for labels, _ in curve] == [14, 20]
    assert history(server, "pets & co", "accuracy") == curve
    assert history(server, "pets & co", "labels") == [(14, 14.0), (20, 20.0)]
    client = MlflowClient(tracking_uri=server)
    (run,) = client.search_runs([client.get_experiment_by_name("pets & co").experiment_id])
    assert {"config", "seed", "strategy", "model"} <= run.data.params.keys()
    assert run.data.params["seed"] == "3"
    assert run.data.tags["dalcli.version"] == "m-0002"
    assert {"macro_recall", "nll", "ece", "accuracy_low", "accuracy_high"} <= run.data.metrics.keys()
    assert "cost" in run.data.metrics

    # Killed before the database knew: the server has it, and keeps it once. Moved: the same run.
    from dalcli.state import tracking

    answer(measured)
    with monkeypatch.context() as patched:
        patched.setattr(tracking, "remember", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert measured.run("run", "--budget", "6").code == 130
    moved = copied(measured, tmp_path / "moved")
    night(moved)
    assert [labels for labels, _ in history(server, "pets & co", "accuracy")] == [14, 20, 26]

    # Another configuration is another run; a price is none.
    moved.configure(run=QUICK, tracking={"mlflow": server, "experiment": "pets & co"}, costs={"currency": "EUR"})
    moved.label(moved.pool("unlabeled", purpose="evaluation"))
    night(moved)
    assert len(history(server, "pets & co", "accuracy")) == 4
    moved.configure(run=QUICK, tracking={"mlflow": server, "experiment": "pets & co"}, query={"strategy": "margin"})
    answer(moved)
    night(moved)
    assert len(client.search_runs([client.get_experiment_by_name("pets & co").experiment_id])) == 2

"""An MLflow server: one run a workspace and configuration, its metrics at the number of labels.

A run is found by its tags, so nothing about it is kept here. Metrics have the time at which they were measured: the
same measurement sent twice is the same row there.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from dalcli.config.hashing import short_hash
from dalcli.errors import DalcliError
from dalcli.tracking.entry import Entry

_WORKSPACE, _CONFIG = "dalcli.workspace", "dalcli.config"
_SENT = "dalcli.measurement."
_DATABASES = {"sqlite", "postgresql", "mysql", "mssql"}
_MAY_CHANGE = ("dalcli", "currency")
"""Parameters of a run are for ever; what may change under the same configuration is a tag."""
_QUIET = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
"""One try more is enough: the next night is another; and nobody else hears of it."""


@dataclass(frozen=True)
class MlflowServer:
    """``workspace`` is its name for ever, ``title`` what its runs are called."""

    uri: str
    experiment: str
    timeout: float
    workspace: str
    title: str

    @property
    def name(self) -> str:
        """The address without a password that may stand in it."""
        parts = urlsplit(self.uri)
        open_to_all = parts._replace(netloc=parts.netloc.rpartition("@")[2])
        return f"MLflow at {urlunsplit(open_to_all) if '@' in parts.netloc else self.uri}"

    @property
    def key(self) -> str:
        return short_hash(f"mlflow {self.uri} {self.experiment}")

    def write(self, entries: Sequence[Entry]) -> None:
        """Send those that the server has not.

        Raises:
            DalcliError: MLflow is not installed, or the server does not answer or says no.
        """
        try:
            with _patience(self.timeout):
                import mlflow  # noqa: F401  (so that what is missing is told apart from what fails)
                from mlflow.exceptions import MlflowException
                from mlflow.tracking import MlflowClient
        except ImportError:
            raise DalcliError("MLflow is not installed", "pip install 'dalcli[mlflow]'") from None
        if urlsplit(self.uri).scheme.partition("+")[0] in _DATABASES and find_spec("sqlalchemy") is None:
            raise DalcliError("a database as an address needs all of MLflow", "pip install mlflow")
        try:
            with _patience(self.timeout):
                self._send(MlflowClient(tracking_uri=self.uri), entries)
        except (MlflowException, ValueError, OSError) as error:  # requests' errors are OSErrors
            raise DalcliError(_short(error)) from None

    def _send(self, client: Any, entries: Sequence[Entry]) -> None:
        experiment = client.get_experiment_by_name(self.experiment)
        number = client.create_experiment(self.experiment) if experiment is None else experiment.experiment_id
        for _, group in groupby(entries, key=lambda each: each.params["config"]):
            same = list(group)
            run = self._run(client, number, same[0])
            for each in same:
                if run.data.tags.get(_SENT + each.version) != each.key:
                    _send_one(client, run.info.run_id, each)
            # More may follow: to MLflow a run that has ended can go on.
            client.set_terminated(run.info.run_id, end_time=same[-1].milliseconds)

    def _run(self, client: Any, experiment: str, first: Entry) -> Any:
        """The run of this workspace and configuration, made if there is none."""
        tags = {_WORKSPACE: self.workspace, _CONFIG: first.params["config"]}
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        found = client.search_runs([experiment], wanted, max_results=1, order_by=["attributes.start_time ASC"])
        if found:
            return found[0]
        return client.create_run(experiment, start_time=first.milliseconds, tags=tags, run_name=self.title)


def _send_one(client: Any, run: str, each: Entry) -> None:
    """Parameters, metrics, and last of all what says that they are there."""
    from mlflow.entities import Metric, Param, RunTag

    metrics = [Metric(name, float(value), each.milliseconds, each.labels) for name, value in each.metrics.items()]
    params = [Param(name, value or "-") for name, value in each.params.items() if name not in _MAY_CHANGE]
    client.log_batch(run, metrics=metrics, params=params)
    tags = {f"dalcli.{name}": each.params[name] for name in _MAY_CHANGE} | {"dalcli.version": each.version}
    tags[_SENT + each.version] = each.key
    client.log_batch(run, tags=[RunTag(name, value or "-") for name, value in tags.items()])


@contextmanager
def _patience(timeout: float) -> Iterator[None]:
    """MLflow reads how long to wait from the environment, where what somebody set stays; and it prints to stdout, which
    is for data."""
    wanted = {**_QUIET, "MLFLOW_HTTP_REQUEST_TIMEOUT": str(max(round(timeout), 1))}
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."

"""Sections of ``dalcli.yaml`` that ``run`` and ``evaluate`` read: how a night goes, and where measurements go."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from dalcli.config.values import Section


def _words(value: object) -> object:
    """A command as a list of words, or as one line that is split as a shell would, with no shell to run it."""
    if isinstance(value, str):
        value = shlex.split(value)
    if isinstance(value, list | tuple) and value and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise ValueError("should be a command: one line, or a list of words")


class RunConfig(Section):
    """What `dalcli run` does in a night. Paths are relative to the workspace."""

    inbox: str = Field(
        "inbox", min_length=1, description="folder that label files are taken in from; what was taken in moves to its "
        "`done`, what was refused to its `refused`",
    )  # fmt: skip
    settle: float = Field(
        3.0, ge=0, le=600, description="seconds that a label file must have been left alone before it is taken in"
    )
    on_conflict: Literal["refuse", "replace", "keep"] = Field(
        "refuse", description="when a label differs from the same annotator's earlier one: as `ingest-labels` has it"
    )
    label_studio: bool = Field(
        False, description="take in what was answered on a Label Studio server, too: `label-studio pull`"
    )
    credentials: str | None = Field(
        None, description="file with the server's address and token, as `--credentials`; default: the environment"
    )
    output: str = Field("to_label.csv", min_length=1, description="default of `run --output`")
    format: str = Field("csv", min_length=1, description="format of the batch, as `query --format`")
    image_url: str | None = Field(None, description="as `query --image-url`")
    evaluation_budget: Annotated[int, Field(ge=1, le=10**9)] | None = Field(
        None,
        description="evaluation samples that go out, in a file beside the output, where the plan says that more "
        "evaluation labels are needed; not set: none",
    )
    report: str | None = Field(
        None, min_length=1, description="file that `dalcli report` is written to, as HTML or, if it ends in .md, as "
        "Markdown; not set: none",
    )  # fmt: skip
    backup: str = Field(
        ".dalcli/backups", min_length=1, description="folder for backups; one on another disk outlives this one"
    )
    keep_backups: int = Field(7, ge=0, le=10_000, description="how many are kept; 0: none are made")
    after: Annotated[tuple[str, ...], BeforeValidator(_words)] | None = Field(
        None,
        description="command that gets the night's report as JSON on its standard input, where anything was done or "
        "failed; without a shell",
    )
    after_timeout: float = Field(60.0, gt=0, le=86_400, description="seconds after which that command is ended")

    @field_validator("after", mode="before")
    @classmethod
    def _nothing(cls, value: object) -> object:
        return None if value in ("", [], ()) else value


class TrackingConfig(Section):
    """Where `run` and `evaluate` log every measured version, once."""

    jsonl: str | None = Field(
        None, min_length=1, description="file that gets a JSON line a measurement; relative to the workspace"
    )
    mlflow: str | None = Field(
        None, min_length=1, description="tracking URI of an MLflow server (`pip install 'dalcli[mlflow]'`)"
    )
    experiment: str = Field("dalcli", min_length=1, max_length=200, description="name of the MLflow experiment")
    timeout: float = Field(10.0, gt=0, le=3600, description="seconds that an answer of the server may take")

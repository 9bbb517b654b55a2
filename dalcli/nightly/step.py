"""What a step of the night is, and what all steps share.

Whether a step is needed follows from the workspace alone; so a night that was killed anywhere goes on where it was, and
one that is run twice does nothing the second time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dalcli.config.running import RunConfig
from dalcli.errors import ExitCode
from dalcli.planning.result import Verdict
from dalcli.workspace.session import Session

Outcome = Literal["done", "not-needed", "would-run", "failed", "deadline", "left-out", "interrupted"]
BROKEN: frozenset[Outcome] = frozenset({"failed", "deadline", "left-out", "interrupted"})


@dataclass(frozen=True)
class Need:
    """Whether there is something to do, and why (not); ``later``: steps that come first may yet bring something."""

    needed: bool
    why: str
    later: bool = False


@dataclass(frozen=True)
class Done:
    """What a step did.

    Attributes:
        why: in words, for people.
        details: the same for programs, JSON values.
        changed: False where it only looked.
        refused: files that were set aside: the night goes on, and ends as bad input.
    """

    why: str
    details: dict[str, Any] = field(default_factory=dict)
    changed: bool = True
    refused: tuple[str, ...] = ()


@dataclass(frozen=True)
class NightOptions:
    """The command line, with the configuration behind it; paths are absolute."""

    budget: int
    output: Path
    inbox: Path
    evaluation_budget: int | None = None
    wait: float = 0.0
    dry_run: bool = False


@dataclass
class Night:
    """What the steps of one night share; ``verdict`` is the plan's, once it was asked, and its reason."""

    session: Session
    options: NightOptions
    verdict: Verdict | None = None
    reason: str = ""

    @property
    def config(self) -> RunConfig:
        return self.session.config.run


@dataclass(frozen=True)
class Step:
    """One step, a file in ``steps/`` and a line in its registry.

    Attributes:
        after: steps that may give this one something to do.
        requires: those of them that must not have failed.
        long: may take hours: the deadline cuts it off, and the next night goes on there.
        always: short, and worth doing even when the time is up.
    """

    name: str
    needed: Callable[[Night], Need]
    run: Callable[[Night], Done]
    after: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    long: bool = False
    always: bool = False


@dataclass(frozen=True)
class StepReport:
    """What became of a step; ``remedy`` and ``problems`` of one that failed, ``said`` is what it noted meanwhile."""

    step: str
    outcome: Outcome
    why: str
    seconds: float
    exit_code: ExitCode = ExitCode.DONE
    changed: bool = False
    details: dict[str, Any] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    remedy: str | None = None
    problems: tuple[str, ...] = ()
    said: tuple[str, ...] = ()

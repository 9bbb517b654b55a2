"""``run``: a night of the loop. The first file of this room to read.

Every step looks whether it is needed, does its work through the command of its name, and leaves a line in the log. A
step that fails does not stop those that do not build on it, so that the state is backed up whatever happened.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from dalcli.errors import BadInputError, DalcliError, ExitCode
from dalcli.nightly import hook
from dalcli.nightly.deadline import Deadline, DeadlinePassed
from dalcli.nightly.hook import HookReport
from dalcli.nightly.said import Remembering
from dalcli.nightly.step import BROKEN, Done, Night, NightOptions, Step, StepReport
from dalcli.nightly.steps import STEPS
from dalcli.planning.result import Verdict
from dalcli.runtime.memory import is_out_of_memory
from dalcli.state.journal import Journal
from dalcli.state.lock import compute_lock
from dalcli.workspace.session import Session

LOG_BYTES, LOGS_KEPT = 1_000_000, 5


@dataclass(frozen=True)
class NightResult:
    """What ``run`` tells: its table, its ``--json``, and what the command of ``run.after`` gets.

    Attributes:
        night: when it began (ISO 8601, UTC, milliseconds): the key of its lines in the log.
        verdict: the plan's, with its reason; None where it was not asked.
        changed: whether anything was done, apart from looking.
        exit_code: 0, or that of the first step that failed; 3 where a label file was refused.
    """

    night: str
    workspace: str
    dry_run: bool
    verdict: Verdict | None
    reason: str
    changed: bool
    exit_code: ExitCode
    seconds: float
    steps: tuple[StepReport, ...]


def log_of(session: Session) -> Journal:
    """Where every step of every night leaves a line."""
    return Journal(session.workspace.state / "run" / "log.jsonl", LOG_BYTES, LOGS_KEPT)


def run(
    session: Session, options: NightOptions, deadline: Deadline | None = None, steps: Sequence[Step] = STEPS
) -> NightResult:
    """Play the steps that are needed.

    Raises:
        LockedError: another ``run`` is at work here.
        Exception: whatever no step should raise, once the others are done: a bug.
    """
    if options.dry_run:
        return _Player(session, options, deadline or Deadline(), steps).play()
    with compute_lock(session.workspace.state / "run.lock", "run", options.wait):
        player = _Player(session, options, deadline or Deadline(), steps)
        result = player.play()
        player.tell(result)
        if player.bug is not None:
            raise player.bug
        return result


class _Player:
    """One night while it is played."""

    def __init__(self, session: Session, options: NightOptions, deadline: Deadline, steps: Sequence[Step]) -> None:
        self.feedback = Remembering(session.feedback)
        self.night = Night(replace(session, feedback=self.feedback), options)
        self.deadline, self.steps = deadline, steps
        self.reports: dict[str, StepReport] = {}
        self.began = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.log = None if options.dry_run else log_of(session)
        self.bug: BaseException | None = None

    def play(self) -> NightResult:
        started = time.monotonic()
        for step in self.steps:
            self._keep(self._look(step) if self.night.options.dry_run else self._play(step))
        reports = tuple(self.reports.values())
        failed = [report.exit_code for report in reports if report.exit_code]
        refused = any(report.refused for report in reports)
        return NightResult(
            night=self.began,
            workspace=str(self.night.session.workspace.root),
            dry_run=self.night.options.dry_run,
            verdict=self.night.verdict,
            reason=self.night.reason,
            changed=any(report.changed for report in reports),
            exit_code=failed[0] if failed else ExitCode.BAD_INPUT if refused else ExitCode.DONE,
            seconds=round(time.monotonic() - started, 3),
            steps=reports,
        )

    def _look(self, step: Step) -> StepReport:
        """What :meth:`_play` would do, as far as it can be told before the steps that come first."""
        started = time.monotonic()
        try:
            need = step.needed(self.night)
        except DalcliError as error:
            return _failed(step, error, started)
        first = [name for name in step.after if name in self.reports and self.reports[name].outcome == "would-run"]
        if need.needed or (first and need.later):
            why = need.why if need.needed else f"after {first[-1]}"
            return StepReport(step.name, "would-run", why, _since(started))
        return StepReport(step.name, "not-needed", need.why, _since(started))

    def _play(self, step: Step) -> StepReport:
        started = time.monotonic()
        broken = [name for name in step.requires if name in self.reports and self.reports[name].outcome in BROKEN]
        if broken:
            return StepReport(step.name, "left-out", f"{broken[0]}: {self.reports[broken[0]].outcome}", 0.0)
        if self.deadline.passed and not step.always:
            return StepReport(step.name, "deadline", "the time is up: the next run goes on here", 0.0)
        self.feedback.forget()
        try:
            report = self._work(step, started)
        except DeadlinePassed:
            report = StepReport(step.name, "deadline", "cut off: the next run goes on here", _since(started))
        except DalcliError as error:
            report = _failed(step, error, started)
        except OSError as error:
            report = _failed(step, _explained(error), started)
        except Exception as error:
            if is_out_of_memory(error):
                remedy = "lower training.batch_size, scoring.batch_size or data.image_size"
                return _failed(step, DalcliError("out of memory", remedy), started)
            self.bug = self.bug or error
            report = _failed(step, DalcliError(f"{type(error).__name__}: {error}"), started, ExitCode.BUG)
        except BaseException:
            self._keep(StepReport(step.name, "interrupted", "the next run goes on here", _since(started)))
            raise
        return replace(report, said=tuple(self.feedback.said))

    def _work(self, step: Step, started: float) -> StepReport:
        need = step.needed(self.night)
        if not need.needed:
            return StepReport(step.name, "not-needed", need.why, _since(started))
        if need.why:
            self.feedback.note(f"{step.name}: {need.why}")
        if step.long:
            with self.deadline.cuts_off():
                done = step.run(self.night)
        else:
            done = step.run(self.night)
        return _done(step, done, started)

    def _keep(self, report: StepReport) -> None:
        """Remember what became of a step, and write it down."""
        self.reports[report.step] = report
        if report.outcome == "failed":
            self.feedback.note(f"{report.step} failed: {report.why}")
        self._write(document(report))

    def _write(self, fields: dict[str, Any]) -> None:
        if self.log is None:
            return
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            said = {name: value for name, value in fields.items() if value not in (None, "", [], (), {})}
            self.log.append({"night": self.began, "at": at, **said})
        except OSError as error:  # a full disk: what was done is done
            self.feedback.warn(f"{self.log.path}: {error.strerror}: this night's log is not complete")
            self.log = None

    def tell(self, result: NightResult) -> None:
        """The last line of the night, and the command that hears of it."""
        self._write({"step": "night", **{k: v for k, v in document(result).items() if k not in {"night", "steps"}}})
        config = self.night.config
        failed = any(report.outcome in BROKEN or report.refused for report in result.steps)
        if config.after is None or not (result.changed or failed):
            return
        text = json.dumps(document(result), ensure_ascii=False, allow_nan=False) + "\n"
        with suppress(OSError):  # no room for the files that the command reads and writes
            heard = hook.tell(
                config.after,
                text.encode(errors="backslashreplace"),
                self.night.session.workspace.root,
                config.after_timeout,
            )
            self._tell_of(heard)

    def _tell_of(self, heard: HookReport) -> None:
        outcome = "done" if heard.problem is None else "failed"
        why = heard.problem or "ended with 0"
        self._write({"step": "after", "outcome": outcome, "why": why, "command": heard.command, "said": [heard.said]})
        if heard.problem is not None:
            said = f": {heard.said.splitlines()[-1]}" if heard.said else ""
            self.feedback.warn(f"run.after: {heard.command[0]} {heard.problem}{said}")


def _done(step: Step, done: Done, started: float) -> StepReport:
    return StepReport(
        step.name, "done", done.why, _since(started), changed=done.changed, details=done.details, refused=done.refused
    )


def _failed(step: Step, error: DalcliError, started: float, code: ExitCode | None = None) -> StepReport:
    return StepReport(
        step.name,
        "failed",
        error.message,
        _since(started),
        exit_code=error.exit_code if code is None else code,
        remedy=error.remedy,
        problems=error.problems if isinstance(error, BadInputError) else (),
    )


def _explained(error: OSError) -> DalcliError:
    where = f"{error.filename}: " if error.filename else ""
    return DalcliError(
        f"{where}{error.strerror or error}; nothing that was complete is lost",
        "make room, or see to what the message names; the next run goes on here",
    )


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


def document(value: StepReport | NightResult) -> dict[str, Any]:
    """As JSON has it: numbers that it lacks are null."""
    found: dict[str, Any] = _plain(dataclasses.asdict(value))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, ExitCode):
        return int(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value

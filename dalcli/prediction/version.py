"""The version that predicts, and how what it says is read today: names, merged classes, temperature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dalcli.config.words import counted
from dalcli.evaluation.temperature import why_none
from dalcli.state import classes, evaluations, versions
from dalcli.state.versions import ModelVersion
from dalcli.workspace.session import Session
from dalcli.workspace.versions import named_version


@dataclass(frozen=True)
class Predictor:
    """Which version predicts.

    Attributes:
        names: of classes, by position.
        counted_as: by position, the class that each counts as.
        temperature: None: not calibrated, and ``uncalibrated`` says why.
    """

    model: ModelVersion
    is_newest: bool
    names: tuple[str, ...]
    counted_as: Sequence[int]
    temperature: float | None
    uncalibrated: str

    @property
    def most(self) -> int:
        """Classes that it tells apart."""
        return len(set(self.counted_as[: self.model.classes]))


def predictor(session: Session, version: str | None) -> Predictor:
    """The newest version, or the named one; a newer label is worth a warning.

    Raises:
        NotReadyError: there is no model.
        UsageError: no such version.
    """
    with session.database.read() as connection:
        model = named_version(connection, version)
        newest = model == versions.newest(connection)
        newer = versions.newer_labels(connection, model) if newest else 0
        measured = evaluations.newest_of(connection, model.version)
        found = Predictor(
            model=model,
            is_newest=newest,
            names=classes.names(connection),
            counted_as=classes.counted_as(connection),
            temperature=None if measured is None else measured.temperature,
            uncalibrated=why_none(None if measured is None else measured.report),
        )
    if newer:
        said = counted(newer, "label is", "labels are")
        session.feedback.warn(f"{said} newer than model {model.version}: dalcli train")
    return found


def tell_calibration(session: Session, found: Predictor) -> None:
    """Say what confidences are worth."""
    version = found.model.version
    if found.temperature is None:
        session.feedback.note(f"confidence is not calibrated: {version} has no temperature: {found.uncalibrated}")
    else:
        session.feedback.note(
            f"confidence is calibrated: temperature {found.temperature:.3g}, fitted to {version} on evaluation labels"
        )

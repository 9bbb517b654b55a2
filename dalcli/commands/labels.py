"""``labels``: the ledger as people read it; who labels how; which labels to doubt; and the way out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dalcli.config.words import counted
from dalcli.errors import UsageError
from dalcli.labels import annotators as comparing
from dalcli.labels import export as exporting
from dalcli.labels import look, suspects
from dalcli.labels.annotators import Comparison
from dalcli.labels.look import Disputed, Log, SampleLabels
from dalcli.state import auto_labels, catalog, classes, consensus, suspicions
from dalcli.state.catalog import Purpose
from dalcli.state.consensus import InForce
from dalcli.workspace.session import Session

FEW = 10
ExportFormat = Literal["csv", "imagefolder", "label-studio"]


@dataclass(frozen=True)
class DisputedResult:
    """Samples on which annotators disagree, least settled first, and the rule that did not settle them."""

    consensus: str
    samples: tuple[Disputed, ...]


@dataclass(frozen=True)
class SuspectLabel:
    """A label that a model contradicts; ``looked_at``: people have answered a batch of suspects with it since."""

    sample_id: str
    path: str
    label: str
    suggested: str
    probability: float
    suggested_probability: float
    by: str
    looked_at: bool


@dataclass(frozen=True)
class SuspectsResult:
    """Suspect labels, most suspicious first, of ``checked`` ones in ``classes``; nobody could judge the others."""

    checked: int
    unchecked: int
    classes: int
    suspects: tuple[SuspectLabel, ...]


@dataclass(frozen=True)
class Exported:
    """What was written: bytes for stdout or a file, or a folder with so many images."""

    data: bytes | None
    samples: int
    folder: str | None = None


def show(session: Session, sample: str) -> SampleLabels:
    """Who said what of one sample."""
    with session.database.read() as connection:
        return look.show(connection, session.workspace, sample)


def disputed(session: Session) -> DisputedResult:
    """What annotators disagree on."""
    with session.database.read() as connection:
        return DisputedResult(consensus.in_force(connection).rule, tuple(look.disputed(connection)))


def log(
    session: Session, sample: str | None = None, annotator: str | None = None, purpose: Purpose | None = None
) -> Log:
    """All that was ever said, in order."""
    with session.database.read() as connection:
        return look.log(connection, session.workspace, sample, annotator, purpose)


def annotators(session: Session) -> Comparison:
    """Everybody who labels, compared."""
    with session.database.read() as connection:
        return comparing.compare(connection)


def find_suspects(session: Session, wait: float = 0.0) -> SuspectsResult:
    """Labels that a model contradicts with confidence."""
    finding = suspects.look(session, wait)
    with session.database.read() as connection:
        names, counted_as = classes.names(connection), classes.counted_as(connection)
        images = {i.key: i for i in catalog.images_of(connection, [s.sample for s in finding.suspects])}
        done = suspicions.looked_at(connection)
    found = tuple(
        SuspectLabel(
            sample_id=images[s.sample].sample_id,
            path=images[s.sample].path,
            label=names[s.given],
            suggested=names[s.suggested],
            probability=s.probability,
            suggested_probability=s.instead,
            by=s.by,
            looked_at=s.sample in done,
        )
        for s in finding.suspects
        if s.sample in images
    )
    result = SuspectsResult(finding.checked, finding.unchecked, len(set(counted_as)), found)
    _tell(session, result)
    return result


def _tell(session: Session, result: SuspectsResult) -> None:
    fresh = sum(not suspect.looked_at for suspect in result.suspects)
    session.feedback.note(f"{len(result.suspects)} of {counted(result.checked, 'label')} checked look wrong")
    if result.unchecked:
        session.feedback.warn(
            f"{counted(result.unchecked, 'label was', 'labels were')} not checked: every version that was scored has "
            "seen them, or their images cannot be read"
        )
    if result.suspects and result.checked < FEW * result.classes:
        session.feedback.warn(
            f"that is less than {FEW} labels a class: after so few a model contradicts many a label that is right"
        )
    if fresh:
        session.feedback.note(f"hand them out again: dalcli query --relabel {fresh} --suspects > again.csv")


def export(
    session: Session,
    form: ExportFormat = "csv",
    output: Path | None = None,
    *,
    votes: bool = False,
    purpose: Purpose | None = None,
    auto: bool = False,
) -> Exported:
    """The labels that count, or with ``votes`` what each annotator says; ``auto``: labels by models, too.

    Raises:
        UsageError: options that do not go together.
        NotReadyError: there are no labels.
        BadInputError: the folder cannot be made of them.
    """
    check_export(form, output, votes, auto)
    with session.database.read() as connection:
        labels = exporting.read(connection, purpose, auto)
        by_models = 0 if auto else sum(run.standing for run in auto_labels.standing(connection))
        force = consensus.in_force(connection)
    left = {vote.sample_id for vote in labels.votes} - {standing.sample_id for standing in labels.labeled}
    if left and not votes and form != "label-studio":
        session.feedback.note(_left_out(len(left), force))
    if by_models:
        session.feedback.note(f"{counted(by_models, 'label')} by a model are left out: pass --auto")
    if form == "imagefolder":
        assert output is not None
        copied = exporting.to_folders(session.workspace, labels, output)
        session.feedback.note(f"{counted(copied, 'image')} copied to {output}")
        return Exported(None, copied, str(output))
    if form == "label-studio":
        return Exported(exporting.as_label_studio(labels), len({vote.sample_id for vote in labels.votes}))
    return Exported(exporting.votes_as_csv(labels) if votes else exporting.as_csv(labels), len(labels.labeled))


def check_export(form: ExportFormat, output: Path | None, votes: bool, auto: bool = False) -> None:
    """Refuse, before anything is opened, what does not go together.

    Raises:
        UsageError: a folder without a name, or votes in a format that has no place for them.
    """
    if form == "imagefolder" and (output is None or str(output) == "-"):
        raise UsageError("--format imagefolder makes a folder", "name it: --output FOLDER")
    if votes and auto:
        raise UsageError("--votes are what people say, and --auto adds labels by a model", "pass one of them")
    if votes and form != "csv":
        raise UsageError(f"--votes is for --format csv, not {form}", "leave it out (label-studio has all votes anyway)")


def _left_out(count: int, force: InForce) -> str:
    are = counted(count, "sample is", "samples are")
    return f"{are} left out: disputed (labels.consensus: {force.rule}), skipped or unreadable"

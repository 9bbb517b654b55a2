"""``export-model``: one version as a folder that was tried without dalcli. Imports torch only to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalcli.config.words import counted
from dalcli.errors import DalcliError, LockedError, NotReadyError
from dalcli.evaluation.temperature import why_none
from dalcli.exporting import document, place, readme
from dalcli.exporting.outputs import Outputs, outputs_of
from dalcli.exporting.request import ExportRequest, Form, forms_of
from dalcli.exporting.result import ExportResult, Quantised, WrittenForm, from_document
from dalcli.state import classes, evaluations, ledger, versions
from dalcli.state.lock import file_lock
from dalcli.state.versions import ModelVersion
from dalcli.state.workspace import WEIGHTS_NAME
from dalcli.workspace.session import Session
from dalcli.workspace.versions import named_version

if TYPE_CHECKING:
    from dalcli.exporting.reference import Reference
    from dalcli.exporting.subject import Subject


def export(session: Session, request: ExportRequest) -> ExportResult:
    """Write the folder, unless it is there already, whole and for the same request.

    Raises:
        NotReadyError: there is no model, or no image to compare with.
        UsageError: no such version.
        BadInputError: the folder cannot be written, is somebody else's, or is there and ``force`` is not given; or the
            network cannot be written in that form.
        LockedError: another export of this workspace is at work.
        DalcliError: a form does not say what dalcli says.
    """
    with session.database.read() as connection:
        model = named_version(connection, request.model)
        names, counted_as = classes.names(connection), classes.counted_as(connection)
        measured = evaluations.newest_of(connection, model.version)
        if request.int8 and not ledger.labels(connection, "evaluation"):
            raise NotReadyError(
                "--int8 says what eight bits cost on evaluation labels, and there are none",
                "ask for some: dalcli query --purpose evaluation --budget 200 > to_label.csv; or leave --int8 out",
            )
        newer = versions.newer_labels(connection, model) if model == versions.newest(connection) else 0
    if newer:
        said = counted(newer, "label is", "labels are")
        session.feedback.warn(f"{said} newer than model {model.version}: dalcli train")
    temperature = None if measured is None else measured.temperature
    if temperature is None:
        why = why_none(None if measured is None else measured.report)
        session.feedback.note(f"probabilities are not calibrated: {model.version} has no temperature: {why}")
    target = place.checked(request.out, session.workspace)
    outputs = outputs_of(names, counted_as, model.classes)
    facts = document.facts(model, _checkpoint(session, model), session.config, outputs, temperature, request.asked)
    with file_lock(session.workspace.state / "export.lock", _locked, request.wait):
        there = place.known(target)
        if there is not None and _is_the_same(there, facts) and place.is_whole(target, there):
            session.feedback.note("up to date: exported before")
            return from_document(str(request.out), there)
        place.require_free(request.out, target, there, request.force)
        made = _build(session, request, model, target, outputs, facts, counted_as)
    return from_document(str(request.out), made)


def _build(
    session: Session,
    request: ExportRequest,
    model: ModelVersion,
    target: Path,
    outputs: Outputs,
    facts: Mapping[str, Any],
    counted_as: Sequence[int],
) -> dict[str, Any]:
    """Write everything, look at it from another process, and put it there; ``model.json``."""
    from dalcli.exporting import forms, preprocessing, subject
    from dalcli.exporting.reference import reference

    loaded = subject.load(session, model)
    wanted = forms_of(request.format, request.hf, request.int8, loaded.architecture is not None)
    temperature = facts["temperature"]
    expected = reference(session, loaded, outputs, counted_as, temperature)
    made = document.described(facts, loaded, session.config)
    with place.building(target) as folder:
        preprocessing.write(folder)
        document.write(folder, made)  # the examples read it
        session.feedback.note(f"writing {', '.join(wanted)}")
        forms.write(folder, wanted, loaded, outputs, temperature)
        checked = tuple(_checked(session, folder, form, expected) for form in wanted)
        quantised = _quantised(session, folder, loaded, outputs, expected) if request.int8 else None
        (folder / "README.md").write_text(readme.text(made, checked, quantised), encoding="utf-8")
        made = document.measured(made, folder, checked, quantised)
        document.write(folder, made)
    return made


def _checked(session: Session, folder: Path, form: Form, expected: Reference) -> WrittenForm:
    from dalcli.exporting import check, examples, forms

    file, example, images = forms.FILES[form], examples.file_name(form), len(expected.paths)
    difference = check.max_difference(folder, form, example, expected)
    said = f"at most {difference:.1e} off dalcli's probabilities on {counted(images, 'image')}"
    session.feedback.note(f"{form}: in a process of its own {said}")
    return WrittenForm(form, file, (folder / file).stat().st_size, example, difference, images)


def _quantised(session: Session, folder: Path, loaded: Subject, outputs: Outputs, expected: Reference) -> Quantised:
    from dalcli.exporting import check, examples, forms, int8

    session.feedback.note("writing eight bits")
    floats = folder / forms.FILES["onnx"]
    images = int8.write(folder, floats, session, loaded)
    (folder / int8.EXAMPLE).write_text(examples.onnx(int8.FILE, int8.FORM), encoding="utf-8")
    check.require_running(folder, "int8", int8.EXAMPLE, expected)
    found = int8.measure(folder, floats, session, loaded, outputs, images)
    lost = 100 * (found.float_accuracy - found.accuracy)
    session.feedback.note(
        f"int8: {100 * found.accuracy:.1f}% of {counted(found.examples, 'evaluation image')} right, "
        f"{abs(lost):.1f} points {'less' if lost > 0 else 'more'} than in 32 bits"
    )
    return found


def _is_the_same(there: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    return all(there.get(key) == value for key, value in facts.items())


def _checkpoint(session: Session, model: ModelVersion) -> str:
    """The hash of the version's file."""
    path = session.workspace.model_folder(model.version) / WEIGHTS_NAME
    try:
        return place.sha256(path)
    except OSError as error:
        raise DalcliError(
            f"{path} cannot be read: {error.strerror or error}",
            "restore the file from a backup, or delete the folder it is in and run `dalcli train`",
        ) from error


def _locked() -> LockedError:
    return LockedError("another export of this workspace is at work", "wait for it to end, or pass --wait SECONDS")

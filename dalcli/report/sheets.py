"""Contact sheets: images of the batch that is out, of the most confused classes, and of labels to doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dalcli.config.words import counted
from dalcli.evaluation.outcomes import Outcomes
from dalcli.report.contents import Picture, Sheet
from dalcli.report.evaluated import Measured
from dalcli.report.thumbnails import thumbnails
from dalcli.state import batches, catalog, classes, suspicions
from dalcli.state.database import Connection
from dalcli.workspace.session import Session

MOST = 60
"""Pictures of a sheet that may be asked for: three sheets of them stay below 3 MB."""
OF_A_PAIR = 4
"""Pictures of the same confusion, before the next one has its turn."""

Name = Literal["next-batch", "most-confused", "suspects"]


@dataclass(frozen=True)
class Chosen:
    """What will be on a sheet: keys of samples with captions, of ``total``; or why there is nothing."""

    name: Name
    total: int
    samples: Sequence[tuple[int, tuple[str, ...]]]
    missing: str | None = None
    note: str | None = None


def choose(connection: Connection, measured: Measured | None, most: int) -> tuple[Chosen, ...]:
    """All three sheets; reads no image."""
    names = classes.names(connection)
    return (_next_batch(connection, names, most), _confused(measured, most), _suspects(connection, names, most))


def sheets(session: Session, chosen: Sequence[Chosen]) -> tuple[Sheet, ...]:
    """With their pictures."""
    keys = [key for each in chosen for key, _ in each.samples]
    with session.database.read() as connection:
        images = {image.key: image for image in catalog.images_of(connection, keys)}
    found = dict(zip(images, thumbnails(session, list(images.values())), strict=True))

    def picture(key: int, caption: tuple[str, ...]) -> Picture:
        if key not in images:
            return Picture("", "", caption, "set aside as unreadable: see dalcli pool quarantine", None, None)
        small = found[key]
        return Picture(images[key].sample_id, small.path, caption, small.problem, small.jpeg, small.size)

    return tuple(
        Sheet(c.name, c.total, tuple(picture(key, caption) for key, caption in c.samples), c.missing, c.note)
        for c in chosen
    )


def _next_batch(connection: Connection, names: Sequence[str], most: int) -> Chosen:
    out = [batch for batch in batches.open_batches(connection) if batch.purpose == "training"]
    if not out:
        return Chosen("next-batch", 0, (), "No batch is out. dalcli query chooses the next one.")
    batch = out[0]
    rows = batches.out(connection, batch, most)
    note = f"Batch {batch.batch_id}: {counted(batch.outstanding, 'image')} still out"
    note += ", for another look." if batch.relabel else ", most valuable first."
    captions = []
    for row in rows:
        caption = [f"rank {row.rank}"]
        if row.pseudo_label is not None:
            sure = "" if row.confidence is None else f", {_share(row.confidence)}"
            caption.append(f"model: {names[row.pseudo_label]}{sure}")
        if row.arm == "control":
            caption.append("drawn at random")
        captions.append((row.sample, tuple(caption)))
    return Chosen("next-batch", batch.outstanding, captions, note=note)


def _confused(measured: Measured | None, most: int) -> Chosen:
    if measured is None:
        return Chosen("most-confused", 0, (), "No model has been measured yet: dalcli evaluate.")
    if measured.measurement.outcomes is None:
        return Chosen("most-confused", 0, (), "What the model said of single images was not kept when it was measured.")
    outcomes = Outcomes.from_bytes(measured.measurement.outcomes)
    merged = np.asarray(measured.counted_as, np.int64)
    label, predicted = merged[outcomes.label], merged[outcomes.predicted]
    wrong = np.flatnonzero(label != predicted)
    if not len(wrong):
        return Chosen("most-confused", 0, (), "The model is right about every evaluation image.")
    by_pair: dict[tuple[int, int], list[int]] = {}
    for row in wrong[np.argsort(outcomes.probability[wrong], kind="stable")].tolist():
        by_pair.setdefault((int(label[row]), int(predicted[row])), []).append(row)
    pairs = [pair for pair in measured.pairs if pair in by_pair]
    found = []
    for true, said in pairs:
        for row in by_pair[true, said][:OF_A_PAIR]:
            caption = (
                f"label: {measured.names[true]}",
                f"model: {measured.names[said]}",
                f"{_share(float(outcomes.probability[row]))} for the label",
            )
            found.append((int(outcomes.sample[row]), caption))
        if len(found) >= most:
            break
    return Chosen(
        "most-confused", len(wrong), found[:most], note="The most frequent confusions first, the surest errors of each."
    )


def _suspects(connection: Connection, names: Sequence[str], most: int) -> Chosen:
    finding = suspicions.newest(connection)
    if finding is None:
        return Chosen("suspects", 0, (), "Nobody has looked for suspect labels yet: dalcli labels suspects.")
    done = suspicions.looked_at(connection)
    left = [suspect for suspect in finding.suspects if suspect.sample not in done]
    stale = "" if suspicions.is_current(connection, finding) else " Labels have changed since: dalcli labels suspects."
    checked = f"{counted(finding.checked, 'label was', 'labels were')} checked"
    if not left:
        return Chosen("suspects", 0, (), f"{checked}, and none of them is left to doubt.{stale}")
    captions = [
        (
            suspect.sample,
            (
                f"label: {names[suspect.given]}, {_share(suspect.probability)}",
                f"model: {names[suspect.suggested]}, {_share(suspect.instead)}",
            ),
        )
        for suspect in left[:most]
    ]
    look = f"{checked}; look at these again: dalcli query --relabel {len(left)} --suspects."
    return Chosen("suspects", len(left), captions, note=f"{look}{stale}")


def _share(value: float) -> str:
    if 0 < value < 0.01:
        return "below 1%"
    return "above 99%" if 0.99 < value < 1 else f"{100 * value:.0f}%"

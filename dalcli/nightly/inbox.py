"""The inbox folder: which files are label files, which of them nobody is writing any more, and where they go.

Files that are taken in move to ``done/``, refused ones to ``refused/`` beside a text that says why. They move last: a
file that was taken in and not moved is taken in again, which changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from dalcli.errors import BadInputError
from dalcli.state.atomic import sync_directory, write_bytes

DONE, REFUSED, WHY = "done", "refused", ".why.txt"
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".download", ".filepart", ".swp", "~", WHY)
_LOOK_EVERY = 0.2
_Stamp = tuple[int, int]


def waiting(inbox: Path) -> list[Path]:
    """Label files by name: neither folders nor hidden files, nor what is called like a file that is still written."""
    if not inbox.is_dir():
        return []
    found = [path for path in inbox.iterdir() if not path.name.startswith(".")]
    return sorted(path for path in found if not path.name.lower().endswith(_UNFINISHED) and path.is_file())


def folders(inbox: Path) -> list[Path]:
    """Folders that are not ours: nobody can say whether one is complete."""
    return sorted(path for path in inbox.iterdir() if path.is_dir() and path.name not in {DONE, REFUSED})


def settled(
    files: list[Path],
    seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.time,
) -> dict[Path, _Stamp]:
    """Those that were left alone for ``seconds``, with what tells a later change; waits that long for the others."""
    start, young, calm = clock(), dict[Path, _Stamp](), dict[Path, _Stamp]()
    for path in files:
        stamp = stamp_of(path)
        if stamp is not None:
            old = 0 <= seconds <= start - stamp[1] / 1e9
            (calm if old else young)[path] = stamp
    while young and clock() < start + seconds:
        sleep(min(_LOOK_EVERY, seconds))
        young = {path: stamp for path, stamp in young.items() if stamp_of(path) == stamp}
    return calm | young


def stamp_of(path: Path) -> _Stamp | None:
    """Size and time of the last change; None: it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def put_away(path: Path, folder: str) -> Path:
    """Move a file to ``done`` or ``refused``, under its time and name."""
    target = _place(path, folder)
    path.rename(target)
    sync_directory(target.parent)
    sync_directory(path.parent)
    return target


def refuse(path: Path, error: BadInputError) -> Path:
    """Move a file that nothing could be made of to ``refused``; what is wrong with it is written first."""
    lines = [error.message, *(f"  {problem}" for problem in error.problems)]
    lines += [error.remedy] if error.remedy else []
    lines.append("Mend it and put it into the inbox again, or take it in by hand: dalcli ingest-labels FILE [OPTIONS]")
    target = _place(path, REFUSED)
    write_bytes(target.with_name(target.name + WHY), ("\n".join(lines) + "\n").encode(errors="backslashreplace"))
    return put_away(path, REFUSED)


def _place(path: Path, folder: str) -> Path:
    """A free name; the same one for the same file, so that a killed night leaves nothing behind."""
    stamp = stamp_of(path)
    moment = datetime.fromtimestamp(0 if stamp is None else stamp[1] // 10**9, UTC)
    target = path.parent / folder / f"{moment:%Y-%m-%dT%H%M%SZ}-{path.name}"
    target.parent.mkdir(exist_ok=True)
    number = 1
    while target.exists():
        number += 1
        target = target.with_name(f"{moment:%Y-%m-%dT%H%M%SZ}-{number}-{path.name}")
    return target

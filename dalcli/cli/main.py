"""From an argument list to an exit status: the only place where exceptions end."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

import typer

from dalcli.cli.streams import OutputClosed, silence_stdout
from dalcli.errors import BadInputError, DalcliError, ExitCode

# Typer carries its own copy of click since 0.21 and imported the package before: both derive from this class.
_CommandLineError: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)
PROBLEMS_SHOWN = 50


class Terminated(BaseException):
    """SIGTERM, raised like KeyboardInterrupt so that every ``finally`` runs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status; never raises, never shows a traceback."""
    with _terminate_as_exception():
        try:
            return _run(sys.argv[1:] if argv is None else argv)
        except OutputClosed:
            silence_stdout()
            return ExitCode.DONE
        except BrokenPipeError:
            silence_stdout()
            return ExitCode.DONE
        except DalcliError as error:
            _explain(error)
            return error.exit_code
        except (KeyboardInterrupt, typer.Abort):
            _say("interrupted; progress is kept: run the same command again to continue")
            return ExitCode.INTERRUPTED
        except Terminated:
            _say("terminated; progress is kept: run the same command again to continue")
            return ExitCode.TERMINATED
        except OSError as error:
            return _system_failure(error)
        except MemoryError:
            _say("error: out of memory\nlower training.batch_size, scoring.batch_size or data.image_size")
            return ExitCode.FAILED
        except Exception:
            return _bug()


def _run(argv: Sequence[str]) -> int:
    # GNU OpenMP lets waiting threads spin. Where another process wants the same cores, that makes torch 10 to 20
    # times slower (measured with two trainings on two cores); the variable is read when torch is first imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from dalcli.cli.app import app

    try:
        status = typer.main.get_command(app).main(list(argv), prog_name="dalcli", standalone_mode=False)
    except _CommandLineError as error:
        return _usage(error)
    except typer.Exit as error:
        return error.exit_code
    return status if isinstance(status, int) else ExitCode.DONE


def _usage(error: Exception) -> int:
    context = getattr(error, "ctx", None)
    _say(f"error: {error.format_message()}")  # type: ignore[attr-defined]
    if context is not None:
        _say(f"try: {context.command_path} --help")
    return ExitCode.USAGE


def _explain(error: DalcliError) -> None:
    _say(f"error: {error.message}")
    if isinstance(error, BadInputError):
        for problem in error.problems[:PROBLEMS_SHOWN]:
            _say(f"  {problem}")
        if len(error.problems) > PROBLEMS_SHOWN:
            _say(f"  ... and {len(error.problems) - PROBLEMS_SHOWN} more")
    if error.remedy:
        _say(error.remedy)


def _system_failure(error: OSError) -> int:
    where = f"{error.filename}: " if error.filename else ""
    _say(f"error: {where}{error.strerror or error}; nothing that was complete is lost")
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        _say("free some disk space and run the same command again")
    return ExitCode.FAILED


def _bug() -> int:
    text = traceback.format_exc()
    _say(f"error: a bug in dalcli: {text.splitlines()[-1]}; the traceback is in {_log(text)}")
    return ExitCode.BUG


def _log(text: str) -> str:
    """Keep a traceback in the workspace if there is one, else in the temporary folder."""
    import tempfile

    from dalcli.cli.options import current_workspace
    from dalcli.state.database import now

    fallback = Path(tempfile.gettempdir()) / "dalcli-errors.log"
    workspace = current_workspace()
    for path in (fallback,) if workspace is None else (workspace.log_path, fallback):
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{now()} {' '.join(sys.argv)}\n{text}\n")
        except OSError:
            continue
        return str(path)
    return "(nowhere: no log file could be written)"


@contextmanager
def _terminate_as_exception() -> Iterator[None]:
    def terminate(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated

    try:
        previous = signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # not in the main thread: somebody embeds us
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _say(message: str) -> None:
    with suppress(OSError):  # stderr closed or its disk full: nobody to tell
        print(message, file=sys.stderr, flush=True)  # noqa: T201  # the one way to speak to people

"""From an argument list to an exit status: the only place where exceptions end."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import typer

from dalcli.cli.streams import OutputClosed, say, settle_stdout, silence_stdout
from dalcli.cli.torchrun import report, speaks
from dalcli.errors import BadInputError, DalcliError, ExitCode, ToldError
from dalcli.runtime.heap import share_heap
from dalcli.runtime.memory import is_out_of_memory

# Typer's private copy of click has no public name for the base class of its command-line errors.
_CommandLineError: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)
PROBLEMS_SHOWN = 50


class Terminated(BaseException):
    """SIGTERM, raised like KeyboardInterrupt so that every ``finally`` runs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status; never raises, never shows a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with _terminate_as_exception():
        try:
            return _run(arguments)
        except (OutputClosed, BrokenPipeError):
            silence_stdout()
            return ExitCode.DONE
        except ToldError as error:
            if error.bug:
                _log(arguments, traceback.format_exc())
            report(error.message)
            return error.exit_code
        except DalcliError as error:
            _explain(error)
            return error.exit_code
        except (KeyboardInterrupt, typer.Abort):
            _ended("interrupted")
            return ExitCode.INTERRUPTED
        except Terminated:
            _ended("terminated")
            return ExitCode.TERMINATED
        except OSError as error:
            return _system_failure(error)
        except Exception as error:
            if not is_out_of_memory(error):
                return _bug(arguments)
            _error("out of memory")
            say("lower training.batch_size, scoring.batch_size or data.image_size")
            return ExitCode.FAILED


def _run(argv: Sequence[str]) -> int:
    # GNU OpenMP lets waiting threads spin. Where another process wants the same cores, that makes torch 10 to 20
    # times slower (measured with two trainings on two cores); the variable is read when torch is first imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    share_heap()  # before any thread has a heap of its own
    from dalcli.cli.app import program_for

    arguments = list(argv)
    try:
        status = typer.main.get_command(program_for(arguments)).main(
            arguments, prog_name="dalcli", standalone_mode=False
        )
    except _CommandLineError as error:
        return _usage(error)
    except typer.Exit as error:
        return error.exit_code
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # click's answer to `dalcli --help | head -1`
            raise OutputClosed from None
        raise
    if status == ExitCode.INTERRUPTED:  # Typer's silent answer to Ctrl-C; people want to know that nothing is lost
        raise KeyboardInterrupt
    return status if isinstance(status, int) else ExitCode.DONE


def _error(text: str, remedy: str = "") -> None:
    say(f"error: {text}")
    report(f"{text}\n{remedy}".strip())


def _ended(how: str) -> None:
    if speaks():
        say(f"{how}; progress is kept: run the same command again to continue")


def _usage(error: Exception) -> int:
    if not speaks():  # the first process finds the same
        return ExitCode.DONE
    context = getattr(error, "ctx", None)
    message: str = error.format_message()  # type: ignore[attr-defined]  # the class has no public name: see above
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the whole help text
        for line in message.splitlines():
            say(line)
        return ExitCode.USAGE
    _error(message)
    if context is not None:
        say(f"try: {context.command_path} --help")
    return ExitCode.USAGE


def _explain(error: DalcliError) -> None:
    _error(error.message, error.remedy or "")
    if isinstance(error, BadInputError):
        alone = len(error.problems) == 1 and error.problems[0] in error.message  # said in the headline already
        said = () if alone else error.problems
        for problem in said[:PROBLEMS_SHOWN]:
            say(f"  {problem}")
        if len(said) > PROBLEMS_SHOWN:
            say(f"  ... and {len(said) - PROBLEMS_SHOWN} more")
    if error.remedy:
        say(error.remedy)


def _system_failure(error: OSError) -> int:
    settle_stdout()
    where = f"{error.filename}: " if error.filename else ""
    _error(f"{where}{error.strerror or error}; nothing that was complete is lost")
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        say("free some disk space and run the same command again")
    return ExitCode.FAILED


def _bug(arguments: Sequence[str]) -> int:
    text = traceback.format_exc()
    _error(f"a bug in dalcli: {text.splitlines()[-1]}; the traceback is in {_log(arguments, text)}")
    return ExitCode.BUG


def _log(arguments: Sequence[str], text: str) -> str:
    """Keep a traceback in the workspace if there is one, else in the temporary folder."""
    import tempfile

    from dalcli.cli.options import current_workspace
    from dalcli.state.database import now

    fallback = Path(tempfile.gettempdir()) / "dalcli-errors.log"
    workspace = current_workspace()
    for path in (fallback,) if workspace is None else (workspace.log_path, fallback):
        try:
            with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{now()} dalcli {shlex.join(arguments)}\n{text}\n")
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

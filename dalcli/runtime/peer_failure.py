"""What one process of a ``torchrun`` tells the one that speaks, when something failed there."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from pydantic import JsonValue, TypeAdapter

from dalcli.errors import DalcliError, ExitCode
from dalcli.runtime.launch import launched
from dalcli.runtime.memory import is_out_of_memory


@dataclass(frozen=True)
class PeerFailure:
    """For reporting, by rank 0, what went wrong in another process: with where, what to do and the exit code."""

    message: str
    remedy: str | None
    code: ExitCode

    @classmethod
    def of(cls, error: Exception) -> PeerFailure:
        """What there is to say about ``error``, which was raised here."""
        where = f"process {launched()[0]} on {socket.gethostname()}"
        if isinstance(error, DalcliError):
            return cls(f"{where}: {error.message}", error.remedy, error.exit_code)
        if isinstance(error, OSError):
            file = f"{error.filename}: " if error.filename else ""
            return cls(f"{where}: {file}{error.strerror or error}", None, ExitCode.FAILED)
        if is_out_of_memory(error):
            remedy = "lower training.batch_size, scoring.batch_size or data.image_size"
            return cls(f"{where}: out of memory", remedy, ExitCode.FAILED)
        text = f"{where}: a bug in dalcli: {type(error).__name__}: {error}"
        return cls(text, "its traceback is in .dalcli/errors.log", ExitCode.BUG)

    @classmethod
    def parse(cls, document: JsonValue) -> PeerFailure:
        """The opposite of :meth:`document`."""
        return _PEER_FAILURE.validate_python(document)

    def document(self) -> JsonValue:
        """As it travels."""
        document: JsonValue = _PEER_FAILURE.dump_python(self, mode="json")
        return document


_PEER_FAILURE: TypeAdapter[PeerFailure] = TypeAdapter(PeerFailure)

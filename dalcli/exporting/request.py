"""What ``export-model`` is asked for. Never imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from dalcli.config.words import suggestion
from dalcli.errors import NotReadyError, UsageError

Form = Literal["safetensors", "torch-export", "onnx", "hf"]
FORMATS: tuple[Form, ...] = ("safetensors", "torch-export", "onnx")
"""What ``--format`` may name, besides ``all``."""
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class ExportRequest:
    """One command line.

    Attributes:
        out: the folder to make.
        model: a version's name; None: the newest.
        format: one of :data:`FORMATS`, ``all``, or None for what suits the network.
        hf: also a folder that timm and transformers load; alone where no format is named.
        int8: the graph in eight bits, too, with what that costs on the evaluation labels.
        force: replace an earlier export.
        wait: seconds to wait for another export.
    """

    out: Path
    model: str | None = None
    format: str | None = None
    hf: bool = False
    int8: bool = False
    force: bool = False
    wait: float = 0.0

    @property
    def asked(self) -> list[str]:
        """What was named of what is to be written."""
        named = [] if self.format is None else [self.format]
        return [*named, *(["hf"] if self.hf else []), *(["int8"] if self.int8 else [])]


def check(request: ExportRequest) -> None:
    """Refuse what no workspace could make sense of, and what an extra is missing for.

    Raises:
        UsageError: an unknown format.
        NotReadyError: packages that the format needs are not installed.
    """
    known = (*FORMATS, "all")
    if request.format is not None and request.format not in known:
        raise UsageError(
            f"--format: no format '{request.format}'{suggestion(request.format, known)}", f"known: {', '.join(known)}"
        )
    if request.format in {"onnx", "all"} or request.int8:
        missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
        if missing:
            raise NotReadyError(
                f"{'--int8' if request.int8 else f'--format {request.format}'} needs {', '.join(missing)}, not "
                "installed here",
                "install the extra: pip install 'dalcli[onnx]'; or export with --format torch-export",
            )
    if request.hf and find_spec("timm") is None:
        raise NotReadyError("--hf needs timm, not installed here", "install the extra: pip install 'dalcli[timm]'")


def forms_of(asked: str | None, hf: bool, int8: bool, buildable: bool) -> tuple[Form, ...]:
    """The forms to write; ``buildable``: a library can build the network without dalcli.

    Eight bits are made of the ONNX graph, which is then among them.
    Without a format: tensors for a network that a library builds, else the graph, which needs no code.
    """
    if int8:
        found = forms_of(asked, hf, False, buildable) if hf or asked is not None else ()
        return found if "onnx" in found else (*found, "onnx")
    if hf:
        return ("hf",) if asked is None else (*forms_of(asked, False, False, buildable), "hf")
    if asked is None:
        return ("safetensors",) if buildable else ("torch-export",)
    if asked == "all":
        return FORMATS if buildable else ("torch-export", "onnx")
    return tuple(form for form in FORMATS if form == asked)

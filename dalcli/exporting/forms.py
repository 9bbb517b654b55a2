"""The forms of a network on disk."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from safetensors.torch import save
from torch.export import Dim, ExportedProgram

from dalcli.errors import BadInputError
from dalcli.exporting import examples, hub
from dalcli.exporting.deployed import Deployed
from dalcli.exporting.outputs import Outputs
from dalcli.exporting.quiet import silent
from dalcli.exporting.request import Form
from dalcli.exporting.subject import Subject
from dalcli.models.checkpoint import tensor_state
from dalcli.state.atomic import write_bytes, write_via

FILES: dict[Form, str] = {
    "safetensors": "model.safetensors",
    "torch-export": "model.pt2",
    "onnx": "model.onnx",
    "hf": "hf/model.safetensors",
}
OPSET = 18


def write(folder: Path, forms: tuple[Form, ...], subject: Subject, outputs: Outputs, temperature: float) -> None:
    """Write ``forms`` of a network, each with its example, into ``folder``.

    Raises:
        BadInputError: the network cannot be written in such a form.
    """
    graph: ExportedProgram | None = None
    if set(forms) & {"torch-export", "onnx"}:
        graph = _graph(subject, outputs, temperature)
    for form in forms:
        target = folder / FILES[form]
        if form == "safetensors":
            text = _safetensors(target, subject, outputs)
        elif form == "hf":
            hub.write(target.parent, subject, outputs, temperature)
            text = examples.hf()
        else:
            assert graph is not None
            text = _torch_export(target, graph) if form == "torch-export" else _onnx(target, graph)
        (folder / examples.file_name(form)).write_text(text, encoding="utf-8")


def _safetensors(target: Path, subject: Subject, outputs: Outputs) -> str:
    if subject.architecture is None:
        raise BadInputError(
            f"--format safetensors: no library builds {subject.meta.spec.name} with the trained last layer, and "
            "tensors alone are of no use",
            "write the whole graph instead: --format torch-export, or --format onnx",
        )
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in tensor_state(subject.network).items()}
    write_bytes(target, save(tensors, metadata={"format": "pt"}))
    return examples.safetensors(subject.architecture, outputs)


def _graph(subject: Subject, outputs: Outputs, temperature: float) -> ExportedProgram:
    """The network with everything behind it, for any number of images."""
    whole = Deployed(subject.network, outputs.parts, temperature).eval()
    images = torch.zeros(2, 3, *subject.recipe.image_size)
    try:
        with silent(), torch.no_grad():
            return torch.export.export(whole, (images,), dynamic_shapes=({0: Dim("batch")},))
    except Exception as error:  # whatever the network's own code makes of being traced
        raise BadInputError(
            f"model.name: torch.export cannot take {subject.meta.spec.name} as one graph for any number of images: "
            f"{_first_line(error)}",
            "its forward must not depend on values or on the batch size; see docs/export-model.md"
            if subject.architecture is None
            else "export its tensors instead: --format safetensors",
        ) from error


def _torch_export(target: Path, graph: ExportedProgram) -> str:
    written = io.BytesIO()
    torch.export.save(graph, written)
    write_bytes(target, written.getvalue())
    return examples.torch_export()


def _onnx(target: Path, graph: ExportedProgram) -> str:
    try:
        with silent():
            program = torch.onnx.export(
                graph,
                dynamo=True,
                opset_version=OPSET,
                input_names=["images"],
                output_names=["logits", "probabilities"],
                dynamic_shapes=({0: "batch"},),  # names the axis, which the graph calls s34 or so
                external_data=False,
                verbose=False,
            )
        assert program is not None
        write_via(target, lambda path: program.save(path, external_data=False))
    except OSError:
        raise
    except Exception as error:  # an operation that ONNX has not, or a file of more than 2 GB
        raise BadInputError(
            f"--format onnx: torch cannot write this network as ONNX: {_first_line(error)}", "use --format torch-export"
        ) from error
    return examples.onnx()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"

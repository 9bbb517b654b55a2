"""Programs that use an export without dalcli: one for each form, and the ones that the export is checked with."""

from __future__ import annotations

from collections.abc import Sequence

from dalcli.exporting.architectures import Architecture
from dalcli.exporting.outputs import Outputs

AT_ONCE = 16

_FRAME = '''"""Classify images without dalcli (needs {needs}): python {name} IMAGE ..."""

import json
import sys
from pathlib import Path

{imports}
from preprocessing import to_input

if len(sys.argv) < 2:
    sys.exit(__doc__)
here = Path(__file__).resolve().parent
model = json.loads((here / "model.json").read_text(encoding="utf-8"))
{load}
for start in range(1, len(sys.argv), {at_once}):
    paths = sys.argv[start : start + {at_once}]
    images = to_input(paths, model["preprocessing"])
{run}
    for path, row in zip(paths, probabilities.tolist()):
        print(json.dumps({{"path": path, "class": model["classes"][row.index(max(row))], "probabilities": row}}))
'''


def file_name(form: str) -> str:
    """What the program for a form is called."""
    return f"example_{form.replace('-', '_')}.py"


def safetensors(architecture: Architecture, outputs: Outputs) -> str:
    """The network built by its library, with our tensors."""
    merged = [
        "    logits = torch.stack([logits[:, part].logsumexp(1) for part in model['outputs']], 1)  # merged classes"
    ]
    return _program(
        "safetensors",
        tuple(dict.fromkeys(("torch", architecture.library, "safetensors"))),
        (*architecture.imports, "import torch", "from safetensors.torch import load_file"),
        (
            *architecture.lines,
            'network.load_state_dict(load_file(here / "model.safetensors"))',
            "network.eval()",
        ),
        (
            "    with torch.inference_mode():",
            "        logits = network(torch.from_numpy(images))",
            *([] if outputs.plain else merged),
            '    probabilities = (logits / model["temperature"]).softmax(1)',
        ),
    )


def torch_export() -> str:
    """The graph, which needs no code but torch's."""
    return _program(
        "torch-export",
        ("torch",),
        ("import torch",),
        ('network = torch.export.load(here / "model.pt2").module()',),
        (
            "    with torch.inference_mode():",
            "        logits, probabilities = network(torch.from_numpy(images))",
        ),
    )


def onnx(file: str = "model.onnx", form: str = "onnx") -> str:
    """A graph in onnxruntime, without torch."""
    return _program(
        form,
        ("onnxruntime",),
        ("import onnxruntime",),
        (f'network = onnxruntime.InferenceSession(here / "{file}", providers=["CPUExecutionProvider"])',),
        ('    logits, probabilities = network.run(["logits", "probabilities"], {"images": images})',),
    )


def hf() -> str:
    """timm, which finds everything in the folder."""
    return _program(
        "hf",
        ("timm",),
        ("import timm", "import torch"),
        ("network = timm.create_model(f\"local-dir:{here / 'hf'}\", pretrained=True).eval()",),
        (
            "    with torch.inference_mode():",
            "        probabilities = network(torch.from_numpy(images)).softmax(1)",
        ),
    )


def _program(form: str, needs: Sequence[str], imports: Sequence[str], load: Sequence[str], run: Sequence[str]) -> str:
    return _FRAME.format(
        needs=", ".join((*needs, "numpy", "pillow")),
        name=file_name(form),
        imports="\n".join(sorted(imports, key=lambda line: (line.startswith("from"), line))),
        load="\n".join(load),
        run="\n".join(run),
        at_once=AT_ONCE,
    )

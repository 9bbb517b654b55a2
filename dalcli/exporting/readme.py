"""``README.md`` of an export: for whoever gets the folder and has never heard of dalcli."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dalcli.config.words import bytes_text
from dalcli.exporting.result import Quantised, WrittenForm

_NEEDS = {
    "safetensors": "torch, safetensors and the library that builds the network",
    "torch-export": "torch",
    "onnx": "onnxruntime",
    "hf": "timm",
}


def text(document: Mapping[str, Any], forms: tuple[WrittenForm, ...], int8: Quantised | None = None) -> str:
    """What is in the folder and how it is used."""
    recipe, calibrated = document["preprocessing"], document["calibrated"]
    height, width = recipe["image_size"]
    temperature = (
        f"The logits are divided by the temperature {document['temperature']:.4g}, fitted on evaluation labels."
        if calibrated
        else "The probabilities are not calibrated: there was no temperature when this was exported."
    )
    lines = [
        f"# {document['model']}: an image classifier exported by dalcli {document['dalcli']}",
        "",
        f"{len(document['classes'])} classes; images of any size become {height}×{width} pixels. {temperature}",
        "`model.json` has the class names in the order of the probabilities, the recipe for images, and hashes.",
        "",
        "| file | size | program | needs (and numpy, Pillow) | probabilities differ from dalcli's by at most |",
        "|---|---|---|---|---|",
        *(
            f"| `{f.file}` | {bytes_text(f.bytes)} | `python {f.example} IMAGE ...` | {_NEEDS[f.form]} | "
            f"{f.max_difference:.1e} ({f.images} images) |"
            for f in forms
        ),
        "",
        "Each program prints one JSON line an image. `preprocessing/` decodes files as they were for training: EXIF "
        "orientation, transparency, large JPEGs, resizing. Other code for this gives slightly other probabilities.",
        "",
    ]
    if int8 is not None:
        lines += [
            f"`{int8.file}` ({bytes_text(int8.bytes)}, `python {int8.example} IMAGE ...`) is the ONNX graph in eight "
            f"bits: {100 * int8.accuracy:.1f}% of {int8.examples} evaluation images right ({100 * int8.low:.1f} to "
            f"{100 * int8.high:.1f}), {100 * int8.float_accuracy:.1f}% in 32 bits; {int8.changed} predictions are "
            "others. "
            "Its probabilities are not calibrated anew.",
            "",
        ]
    if document["outputs"] is not None:
        lines += ["Some outputs of the network mean the same class today: their probabilities are added up.", ""]
    if document["unknown_classes"]:
        later = ", ".join(document["unknown_classes"])
        lines += [f"Classes that came later, which this network never says: {later}.", ""]
    return "\n".join(lines)

"""A folder that timm loads (``local-dir:``), and transformers through it: their ``config.json`` and our tensors."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from dalcli.errors import BadInputError
from dalcli.exporting.outputs import Outputs
from dalcli.exporting.subject import Subject
from dalcli.models.checkpoint import tensor_state
from dalcli.models.head import find_head
from dalcli.state.atomic import write_bytes

FOLDER = "hf"
_CROP_MODES = {"crop": "center", "stretch": "squash", "pad": "border"}


def write(folder: Path, subject: Subject, outputs: Outputs, temperature: float) -> None:
    """Make ``folder``; the temperature is divided out of the last layer, since nothing else would apply it.

    Raises:
        BadInputError: timm has no such network, or a merged class needs more than the last layer can say.
    """
    if not outputs.plain:
        raise BadInputError(
            "--hf: classes were merged, and a network of timm cannot add up the probabilities of their parts",
            "use --format safetensors, torch-export or onnx, which can",
        )
    name = _name(subject)
    tensors = {key: tensor.detach().contiguous().clone() for key, tensor in tensor_state(subject.network).items()}
    head = find_head(subject.network, len(subject.meta.classes))
    for key in (f"{head}.weight", f"{head}.bias"):
        if key in tensors:
            tensors[key] = (tensors[key].double() / temperature).to(tensors[key].dtype)
    folder.mkdir()
    write_bytes(folder / "model.safetensors", save(tensors, metadata={"format": "pt"}))
    text = json.dumps(_config(name, subject, outputs), ensure_ascii=False, indent=2) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")


def _name(subject: Subject) -> str:
    """What timm calls the network."""
    architecture = subject.architecture
    if architecture is not None and architecture.library == "timm":
        return architecture.name.partition(".")[0]
    if architecture is not None and _timm_has(architecture.name, tensor_state(subject.network), subject):
        return architecture.name
    raise BadInputError(
        f"--hf: timm has no network with the tensors of {subject.meta.spec.name}",
        "use --format safetensors, torch-export or onnx; or train a network of timm: model.name: timm:NAME",
    )


def _timm_has(name: str, tensors: dict[str, Tensor], subject: Subject) -> bool:
    """Whether a network of the same name has the same tensors there (torchvision's ResNets, say)."""
    import timm

    if not timm.is_model(name):
        return False
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        theirs: nn.Module = timm.create_model(name, num_classes=len(subject.meta.classes))
    return {key: value.shape for key, value in theirs.state_dict().items()} == {
        key: value.shape for key, value in tensors.items()
    }


def _config(name: str, subject: Subject, outputs: Outputs) -> dict[str, Any]:
    """What timm's ``push_to_hf_hub`` would write."""
    recipe, head = subject.recipe, find_head(subject.network, len(subject.meta.classes))
    network: Any = subject.network
    last = network.get_submodule(head)
    pretrained = {
        "custom_load": False,
        "input_size": [3, *recipe.image_size],
        "fixed_input_size": False,
        "interpolation": recipe.interpolation,
        "crop_pct": recipe.crop_fraction,
        "crop_mode": _CROP_MODES[recipe.resize],
        "mean": list(subject.stats.mean),
        "std": list(subject.stats.std),
        "num_classes": len(outputs.classes),
        "classifier": head,
    }
    return {
        "architecture": name,
        "num_classes": len(outputs.classes),
        "num_features": int(getattr(network, "num_features", last.weight.shape[1])),
        "model_args": {"img_size": list(recipe.image_size)} if _fixed_size(subject) else {},
        "label_names": list(outputs.classes),
        "pretrained_cfg": pretrained,
    }


def _fixed_size(subject: Subject) -> bool:
    return subject.architecture is not None and any("img_size=" in line for line in subject.architecture.lines)

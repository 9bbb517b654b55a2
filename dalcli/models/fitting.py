"""Somebody else's tensors into a model: renamed where formats changed, and refused by name where they do not fit."""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Set
from contextlib import suppress

from torch import Tensor, nn
from torchvision.models.vision_transformer import interpolate_embeddings

from dalcli.errors import BadInputError
from dalcli.models.spec import ModelSpec
from dalcli.models.weights_file import SAFE
from dalcli.models.weights_reader import State

COUNTER = "num_batches_tracked"  # of batch normalisation: formats before torch 0.4.1 lack it, and nothing here uses it


def adapted(state: State, spec: ModelSpec, model: nn.Module) -> State:
    """Published weights as the models here name and size them."""
    dropped = {"vgg11": r"classifier\.", "googlenet": r"aux[12]\.", "inception_v3": r"AuxLogits\."}.get(spec.name)
    for name in list(state):
        if dropped and re.match(dropped, name):
            del state[name]
    if spec.name.startswith("densenet"):
        for name in list(state):  # published before module names could hold no dots: norm.1 is norm1 today
            renamed = re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2", name)
            state[renamed] = state.pop(name)
    position = "encoder.pos_embedding"
    if spec.name.startswith("vit_") and position in state:
        patch = int(model.conv_proj.kernel_size[0])  # type: ignore[index, union-attr]  # a convolution
        with suppress(ValueError):  # not a square grid: reported with the other tensors that do not fit
            state = interpolate_embeddings(spec.image_size[0], patch, state)
    return state


def fill(model: nn.Module, state: State, name: str, weights: str, fresh: Set[str] = frozenset()) -> None:
    """Load ``state`` into ``model``, where only the tensors ``fresh`` (and batch counters) may be missing.

    Args:
        model: is changed.
        state: named tensors.
        name, weights: of the model and of what ``state`` came from, for the error.
        fresh: names of tensors of ``model``.

    Raises:
        BadInputError: key ``model.weights``, with every tensor that is missing, unexpected or of another shape.
    """
    problems = misfits(model.state_dict(), state, fresh)
    if problems:
        raise misfit(name, weights, problems)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision remarks on old formats that it reads all the same
        result = model.load_state_dict(state, strict=False)
    # Models may rename what older formats called otherwise: only now is it known what was not used.
    missing = [n for n in result.missing_keys if n not in fresh and not n.endswith(COUNTER)]
    problems = [f"missing: {n}" for n in missing] + [f"unexpected: {n}" for n in result.unexpected_keys]
    if problems:
        raise misfit(name, weights, problems)


SHOWN = 2  # problems of a kind


def misfits(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], fresh: Set[str]) -> list[str]:
    """Tensors that both have under one name in different shapes; ``fresh`` do not count."""
    return sorted(
        f"{name}: {tuple(state[name].shape)} in the file, {tuple(expected[name].shape)} in the model"
        for name in (expected.keys() & state.keys()) - fresh
        if state[name].shape != expected[name].shape
    )


def misfit(name: str, weights: str, problems: list[str]) -> BadInputError:
    """What to say about weights that do not fit a model."""
    few = "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
    return BadInputError(
        f"model.weights: {weights} does not fit {name}: {few}",
        "Check model.name (--model of `init`), model.stem and data.image_size against the model these weights were "
        "trained with.",
        _examples(problems),
    )


def _examples(problems: list[str]) -> list[str]:
    """Some of every kind: of another network's weights nothing fits."""
    kinds = [problem.partition(":")[0] for problem in problems]
    return [each for place, each in enumerate(problems) if kinds[:place].count(kinds[place]) < SHOWN]


def differences(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], fresh: Set[str]) -> list[str]:
    """Everything by which ``state`` does not fit; ``fresh`` do not count, nor do batch counters."""
    missing = [name for name in expected if name not in state and name not in fresh and not name.endswith(COUNTER)]
    unexpected = [name for name in state if name not in expected and not name.endswith(COUNTER)]
    return [
        *misfits(expected, state, fresh),
        *(f"missing: {name}" for name in missing),
        *(f"unexpected: {name}" for name in unexpected),
    ]


def renamed(
    state: State, expected: Mapping[str, Tensor], head: Set[str], source: str, name: str
) -> tuple[State, str] | None:
    """``state``, which came from the file or name ``source``, by the names of the network ``name``, and a note for the
    user; None where nothing tells which tensor is which.
    """
    inside = without_common_prefix(state, expected, head)
    if inside is not None:
        return inside[0], f"the tensors of {source} lie below {inside[1]!r}: that is {name}"
    if source.endswith(SAFE):  # such files keep their tensors by name, so that their order says nothing
        return None
    found = renamed_by_order(state, expected, head)
    if found is None:
        return None
    return found, (
        f"the tensors of {source} have other names than those of {name}, but their number, order and shapes agree: "
        "taken in that order"
    )


def without_common_prefix(state: State, expected: Mapping[str, Tensor], head: Set[str]) -> tuple[State, str] | None:
    """``state`` as part of something larger: all its names begin alike (``backbone.``), and go on as ``expected``."""
    parts = [name.split(".") for name in state]
    shared = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    for depth in range(len(shared), 0, -1):
        prefix = ".".join(shared[:depth]) + "."
        if not all(name.startswith(prefix) for name in state):
            continue
        inside = OrderedDict((name.removeprefix(prefix), tensor) for name, tensor in state.items())
        if not differences(expected, inside, head):
            inside._metadata = getattr(state, "_metadata", None)  # type: ignore[attr-defined]
            return inside, prefix
    return None


def renamed_by_order(state: State, expected: Mapping[str, Tensor], head: Set[str]) -> State | None:
    """``state`` under the names of ``expected``, if it is the same network by another program; else None.

    It is taken for that where both list as many tensors (batch counters apart), and each has the same shape and the
    same last part of its name (weight, bias, running_mean, ...) as its counterpart. Tensors of the ``head`` may differ
    in their number of classes.
    """
    theirs = {name: tensor for name, tensor in state.items() if not name.endswith(COUNTER)}
    ours = {name: tensor for name, tensor in expected.items() if not name.endswith(COUNTER)}
    if len(theirs) != len(ours):
        return None
    for (their_name, their), (our_name, our) in zip(theirs.items(), ours.items(), strict=True):
        first = 1 if our_name in head else 0
        same_shape = their.ndim == our.ndim and their.shape[first:] == our.shape[first:]
        if not same_shape or their_name.rsplit(".", 1)[-1] != our_name.rsplit(".", 1)[-1]:
            return None
    renamed = OrderedDict(zip(ours, theirs.values(), strict=True))
    renamed._metadata = {"": {"version": 2}}  # type: ignore[attr-defined]
    return renamed

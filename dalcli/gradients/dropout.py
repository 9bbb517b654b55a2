"""Predictions under dropout masks: samples of the model's uncertainty (Gal & Ghahramani, ICML 2016).

Masks are *consistent*: pass t drops the same units for every sample, so that all predictions of one t belong to one
version of the model, which is what joint quantities such as BatchBALD's need (Kirsch et al., NeurIPS 2019), and what
makes a prediction independent of its batch. All but dropout stays in eval mode: BatchNorm uses running statistics.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dalcli.config.hashing import generator
from dalcli.gradients.passes import evaluating, logits_of
from dalcli.gradients.pieces import Halving, joined, single_image_errors
from dalcli.gradients.precision import Precision, computing, tf32

_KEPT_BYTES = 64 << 20
_BY_UNIT = (nn.Dropout,)
_BY_CHANNEL = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


@dataclass(frozen=True)
class DropoutSpec:
    """Which masks: those of pass t = 0, 1, ..., ``passes`` − 1 depend on ``seed``, t and the layer alone."""

    seed: int
    passes: int


@dataclass(frozen=True, slots=True)
class DropoutSamples:
    """``probabilities`` (n, T, K) float16: softmax of the logits under each mask."""

    probabilities: Tensor


class NoDropoutError(ValueError):
    """The model has no dropout layer that drops anything."""


@dataclass
class _Call:
    """What a dropout layer read and returned in one pass."""

    name: str
    inputs: Tensor
    output: Tensor


@dataclass
class _Trace:
    """What happened in one pass: dropout calls, and what the head read and returned each time."""

    calls: list[_Call] = field(default_factory=list)
    head: list[tuple[Tensor, Tensor]] = field(default_factory=list)


class DropoutSampler:
    """Runs a model T times with its ``Dropout`` and ``Dropout1d``–``3d`` layers masked; ``head`` names its last layer.

    Layers see samples along their first dimension. Dropout inside other modules (attention weights, stochastic depth)
    stays off. Where the only dropout is right before the head, all but the head is computed once. Every call leaves
    the model as it was. Memory: a forward pass, the result, and up to 64 MiB of masks; where it runs out, half as many
    samples run at once from then on, as ``notes`` say, and DalcliError where it does not do for one.
    """

    def __init__(
        self, model: nn.Module, spec: DropoutSpec, *, head: str | None, precision: Precision = Precision.FLOAT32
    ) -> None:
        """Raises NoDropoutError where every prediction would be the same."""
        self.notes: list[str] = []
        self._model, self._spec, self._precision = model, spec, precision
        self._halving = Halving(self.notes)
        self._head = None if head is None else model.get_submodule(head)
        self._layers = dropout_layers(model)
        if not self._layers:
            raise NoDropoutError("the model has no dropout layers")
        self._masks: dict[tuple[object, ...], Tensor] = {}
        self._kept = 0

    def sample(self, inputs: Tensor) -> DropoutSamples:
        """Predictions for inputs (n, ...) on the model's device, n at least 1."""
        allowed = self._precision is Precision.TF32
        with single_image_errors(inputs.device), evaluating(self._model), torch.no_grad(), tf32(allowed):
            return joined(list(self._halving.map(lambda piece: self._sampled(inputs[piece]), inputs, len(inputs))))

    def _sampled(self, inputs: Tensor) -> DropoutSamples:
        with computing(self._precision, inputs.device):
            logits, trace = self._forward(inputs, 0)
            rest = range(1, self._spec.passes)
            if self._only_before_head(logits, trace):
                assert self._head is not None
                (call,) = trace.calls
                others = [self._head(self._dropped(call.inputs, call.name, number, 0)) for number in rest]
            else:
                others = [self._forward(inputs, number)[0] for number in rest]
            samples = [each.float().softmax(1).half() for each in (logits, *others)]
        return DropoutSamples(torch.stack(samples, 1))

    def _forward(self, inputs: Tensor, number: int) -> tuple[Tensor, _Trace]:
        trace = _Trace()
        with self._hooked(trace, number):
            return logits_of(self._model(inputs)), trace

    def _only_before_head(self, logits: Tensor, trace: _Trace) -> bool:
        """Whether the logits are the head's of what the one dropout call returned."""
        if len(trace.calls) != 1 or len(trace.head) != 1:
            return False
        read, returned = trace.head[0]
        return read is trace.calls[0].output and returned is logits

    @contextmanager
    def _hooked(self, trace: _Trace, number: int) -> Iterator[None]:
        def drop(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            name = names[module]
            before = sum(call.name == name for call in trace.calls)
            dropped = self._dropped(output, name, number, before)
            trace.calls.append(_Call(name, output, dropped))
            return dropped

        def remember(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            trace.head.append((args[0], output))

        names: dict[nn.Module, str] = {module: name for name, module in self._layers.items()}
        with ExitStack() as stack:
            for module in names:
                stack.callback(module.register_forward_hook(drop).remove)
            if self._head is not None:
                stack.callback(self._head.register_forward_hook(remember).remove)
            yield

    def _dropped(self, x: Tensor, name: str, number: int, call: int) -> Tensor:
        """``x`` (n, ...) with the units of one mask at 0, and the others scaled by 1 / (1 − p)."""
        layer = self._layers[name]
        shape = x.shape[1:] if isinstance(layer, _BY_UNIT) else (*x.shape[1:2], *(1 for _ in x.shape[2:]))
        mask = self._mask((number, name, call), tuple(shape), layer.p, x.device)
        return x * mask * (1 / (1 - layer.p) if layer.p < 1 else 0.0)

    def _mask(self, key: tuple[int, str, int], shape: tuple[int, ...], p: float, device: torch.device) -> Tensor:
        kept = self._masks.get((key, shape))
        if kept is not None:
            return kept
        number, name, call = key
        drawn = generator(self._spec.seed, "mask", number, name, call).random(shape) >= p
        mask = torch.as_tensor(drawn, device=device)
        if self._kept + mask.nbytes <= _KEPT_BYTES:
            self._masks[key, shape], self._kept = mask, self._kept + mask.nbytes
        return mask


def dropout_layers(model: nn.Module) -> dict[str, nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d]:
    """The layers that drop something in training, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (*_BY_UNIT, *_BY_CHANNEL)) and module.p > 0
    }

"""Explicit per-sample gradients of one logit: the rows of the Jacobian, one (n, p) matrix per class."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from dalcli.gradients import memory
from dalcli.gradients.fallback import sample_gradients
from dalcli.gradients.passes import logits_of
from dalcli.runtime.memory import is_out_of_memory

AT_ONCE = 64
TRANSIENT = 8  # at most one in so many bytes of the limit holds gradients that are being laid out


class ClassGradients:
    """∇_θ f^k(x) of some samples, flattened over all trainable parameters in their order. Use inside ``evaluating``."""

    def __init__(self, model: nn.Module, limit_bytes: int) -> None:
        self._model = model
        self._limit = limit_bytes
        self._trainable = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self._vectorised = True

    def of(self, inputs: Tensor, k: int) -> Tensor:
        """(n, p) in the parameters' dtype; inputs (n, ...)."""
        size = sum(value.numel() for value in self._trainable.values())
        dtype = next((value.dtype for value in self._trainable.values()), torch.float32)
        found = torch.empty(len(inputs), size, dtype=dtype, device=inputs.device)
        activations = memory.activation_bytes(self._model, inputs[:1])
        few = max(1, self._limit // (TRANSIENT * max(1, size * dtype.itemsize)))
        most = min(AT_ONCE, few, memory.samples_at_once(activations, self._limit))
        for piece in memory.even_pieces(len(inputs), most):
            self._fill(found[piece], inputs[piece], k)
        return found

    def _fill(self, out: Tensor, inputs: Tensor, k: int) -> None:
        if self._vectorised:
            try:
                return self._together(out, inputs, k)
            except Exception as error:  # vmap refuses in many ways; whatever is truly wrong recurs one by one
                if is_out_of_memory(error):
                    raise
                self._vectorised = False
        for row in range(len(inputs)):
            self._one(out[row], inputs[row : row + 1], k)
        return None

    def _together(self, out: Tensor, inputs: Tensor, k: int) -> None:
        def logit(values: dict[str, Tensor], sample: Tensor) -> Tensor:
            return logits_of(functional_call(self._model, values, (sample.unsqueeze(0),))).reshape(-1)[k]

        values = {name: parameter.detach() for name, parameter in self._trainable.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # vmap announces operations that it loops over
            gradients = vmap(grad(logit), in_dims=(None, 0))(values, inputs)
        place = 0
        for name in self._trainable:
            flat = gradients[name].flatten(1)
            out[:, place : place + flat.shape[1]] = flat
            place += flat.shape[1]

    def _one(self, out: Tensor, sample: Tensor, k: int) -> None:
        with torch.no_grad():
            classes = logits_of(self._model(sample)).numel()
        seed = torch.zeros(1, classes, dtype=out.dtype, device=out.device)
        seed[0, k] = 1.0
        _, gradients = sample_gradients(self._model, self._trainable, sample, seed)
        out.zero_()
        place = 0
        for name, parameter in self._trainable.items():
            if name in gradients:
                out[place : place + parameter.numel()] = gradients[name].flatten()
            place += parameter.numel()

"""What others do for ‖g_u‖² and ⟨g_u, V⟩ of every sample: vmap(grad), Opacus, BackPACK, and a loop over samples.

Not a benchmark itself: ``engine.py`` lets them compete.

All run in eval mode where they can, on copies without in-place activations, in chunks: each holds the gradients of a
whole chunk. Opacus and BackPACK are optional; install them beside the project, not into it:

    pip install --target PEERS --no-deps opacus backpack-for-pytorch einops unfoldNd opt_einsum
    PYTHONPATH=PEERS python benchmarks/engine.py
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

Totals = tuple[Tensor, Tensor]
Method = Callable[[Tensor, Tensor], Totals]
Builder = Callable[[nn.Module, Mapping[str, Tensor]], Method]
CHUNK = 32
VMAP_CHUNK = 8


class UnavailableError(Exception):
    """A peer is not installed, or refuses this model."""


def _summed(gradients: Iterable[tuple[str, Tensor]], direction: Mapping[str, Tensor]) -> Totals:
    """‖·‖² and ⟨·, V⟩ from per-sample gradients (n, ...) by parameter name."""
    squares, inners = [], []
    for name, gradient in gradients:
        rows = gradient.detach().flatten(1)
        squares.append(rows.square().sum(1))
        inners.append(rows @ direction[name].flatten())
    return torch.stack(squares).sum(0), torch.stack(inners).sum(0)


def _chunked(method: Method, chunk: int) -> Method:
    def run(inputs: Tensor, labels: Tensor) -> Totals:
        pairs = zip(inputs.split(chunk), labels.split(chunk), strict=True)
        squares, inners = zip(*(method(x, y) for x, y in pairs), strict=True)
        return torch.cat(squares), torch.cat(inners)

    return run


def vectorised(model: nn.Module, direction: Mapping[str, Tensor]) -> Method:
    """``torch.func.vmap(grad(...))``."""
    parameters = {key: value.detach() for key, value in model.named_parameters()}

    def loss(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(model, values, (x[None],)), y[None])

    def method(inputs: Tensor, labels: Tensor) -> Totals:
        model.eval()
        return _summed(vmap(grad(loss), in_dims=(None, 0, 0))(parameters, inputs, labels).items(), direction)

    return _chunked(method, VMAP_CHUNK)


def naive(model: nn.Module, direction: Mapping[str, Tensor]) -> Method:
    """A forward and a backward pass for every sample."""
    names, values = zip(*model.named_parameters(), strict=True)

    def method(inputs: Tensor, labels: Tensor) -> Totals:
        model.eval()
        gradients = torch.autograd.grad(functional.cross_entropy(model(inputs), labels), values)
        return _summed(((name, value[None]) for name, value in zip(names, gradients, strict=True)), direction)

    return _chunked(method, 1)


def _plain_copy(model: nn.Module) -> nn.Module:
    """Without in-place activations and dropout, which the peers' hooks or train mode would stumble over."""
    twin = copy.deepcopy(model)
    for module in twin.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return twin


@contextmanager
def _hooks_unremarked() -> Iterator[None]:
    """Without torch's warning that images need no gradients, which is so for all contestants."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        yield


def first_line(refusal: Exception) -> str:
    return (str(refusal) or type(refusal).__name__).splitlines()[0][:100]


def opacus(model: nn.Module, direction: Mapping[str, Tensor]) -> Method:
    """``GradSampleModule``; it works in train mode only, and so refuses batch norm."""
    try:
        from opacus import GradSampleModule
    except ImportError as missing:
        raise UnavailableError(f"Opacus is not installed ({missing})") from None
    try:
        wrapped = GradSampleModule(_plain_copy(model), loss_reduction="sum", strict=True)
    except NotImplementedError as refusal:
        raise UnavailableError(f"Opacus refuses this model: {first_line(refusal)}") from None

    def method(inputs: Tensor, labels: Tensor) -> Totals:
        wrapped.train()
        with _hooks_unremarked():
            functional.cross_entropy(wrapped(inputs), labels, reduction="sum").backward()
        named = wrapped._module.named_parameters()
        found = _summed(((name, parameter.grad_sample) for name, parameter in named), direction)
        wrapped.zero_grad(set_to_none=True)
        return found

    return _chunked(method, CHUNK)


def backpack(model: nn.Module, direction: Mapping[str, Tensor]) -> Method:
    """``BatchGrad``, as the method's authors use it; the model is converted to modules first."""
    try:
        from backpack import backpack as recording
        from backpack import extend
        from backpack.extensions import BatchGrad
    except ImportError as missing:
        raise UnavailableError(f"BackPACK is not installed ({missing})") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            extended = extend(_plain_copy(model).eval(), use_converter=True)
    except Exception as refusal:  # the converter gives up in many ways
        raise UnavailableError(f"BackPACK cannot convert this model: {first_line(refusal)}") from None
    loss = extend(nn.CrossEntropyLoss(reduction="sum"))
    names = {id(parameter): name for name, parameter in extended.named_parameters()}
    known = _matched(extended, model)

    def method(inputs: Tensor, labels: Tensor) -> Totals:
        with recording(BatchGrad()), _hooks_unremarked():
            loss(extended(inputs), labels).backward()
        found = _summed(
            ((known[names[id(parameter)]], parameter.grad_batch) for parameter in extended.parameters()), direction
        )
        for parameter in extended.parameters():
            parameter.grad = None
            del parameter.grad_batch
        return found

    return _chunked(method, CHUNK)


def _matched(extended: nn.Module, model: nn.Module) -> dict[str, str]:
    """Names in a converted copy -> names in the model; conversion renames but keeps values."""
    values = list(model.named_parameters())
    matched = {}
    for name, parameter in extended.named_parameters():
        same = [own for own, value in values if own == name]
        same += [own for own, value in values if value.shape == parameter.shape and torch.equal(value, parameter)]
        if not same:
            raise UnavailableError(f"BackPACK's converter changed {name}")
        matched[name] = same[0]
    return matched


PEERS: dict[str, Builder] = {"vmap": vectorised, "naive": naive, "opacus": opacus, "backpack": backpack}


def build_peers(model: nn.Module, direction: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Method | str]:
    """Each wanted peer's method, or why there is none."""
    found: dict[str, Method | str] = {}
    for name in wanted:
        try:
            found[name] = PEERS[name](model, direction)
        except UnavailableError as reason:
            found[name] = str(reason)
    return found

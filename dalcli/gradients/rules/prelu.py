"""PReLU: the learnt slope's gradient is Σ_t δ_t min(x_t, 0), per channel or over all of them."""

from __future__ import annotations

from torch import nn

from dalcli.gradients.rules.base import Contribution, LayerCall, of_gradients, register


@register(nn.PReLU)
class PReLURule:
    """One slope in all, or one per channel (dimension 1)."""

    parameter_names = frozenset({"weight"})

    def supports(self, module: nn.Module) -> bool:
        return True

    def contributions(self, call: LayerCall) -> Contribution:
        module = call.module
        assert isinstance(module, nn.PReLU)
        products = call.inputs.clamp(max=0).mul_(call.gradient)
        if module.num_parameters == 1:
            slopes = products.reshape(products.shape[0], -1).sum(1, keepdim=True)
        else:
            slopes = products.reshape(products.shape[0], module.num_parameters, -1).sum(2)
        return of_gradients(slopes, call.wanted["weight"])

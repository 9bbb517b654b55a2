"""Which rule accounts for which parameter, and which parameters are left to the fallback."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from dalcli.gradients.functional.sites import Sites
from dalcli.gradients.rules import Rule, rule_for

FALLBACK = "fallback"
SITE = "use of "


@dataclass(frozen=True, slots=True)
class AssignedModule:
    """A module whose rule accounts for some of its own parameters; ``names`` maps local names to the model's."""

    path: str
    module: nn.Module
    rule: Rule
    names: dict[str, str]


class Assignment:
    """Who accounts for which trainable parameter, so that each counts once.

    Assignees are a module's rule, the calls that take the parameter (``sites``) and the fallback. A rule may have a
    parameter if the module is the only one that holds it. What a forward pass shows later (a module called twice or
    never, inputs overwritten, a failed self-check) takes a module's parameters from its rule for good: the fallback
    is right whatever a module does. The set of trainable parameters is fixed when this is made.
    """

    def __init__(self, model: nn.Module) -> None:
        named = list(model.named_parameters())
        self.trainable = {name: parameter for name, parameter in named if parameter.requires_grad}
        self._frozen = [name for name, parameter in named if not parameter.requires_grad]
        self._modules = {each.path: each for each in _assigned(model, self.trainable)}
        self.sites = Sites(model, self.trainable)
        self._reasons: dict[str, str] = {}
        self._idle: set[str] = set()

    @property
    def modules(self) -> list[AssignedModule]:
        """Those whose rules are in force."""
        return list(self._modules.values())

    def fallback_names(self) -> list[str]:
        """Trainable parameters that no rule accounts for."""
        ruled = {name for each in self._modules.values() for name in each.names.values()}
        return [name for name in self.trainable if name not in ruled and name not in self.sites.kinds]

    def withdraw(self, path: str, reason: str) -> list[str]:
        """Take a module's parameters from its rule, for the fallback unless a later trace finds their uses.

        Returns their names.
        """
        names = list(self._modules.pop(path).names.values())
        self._reasons.update(dict.fromkeys(names, reason))
        return names

    def mark_idle(self, names: Iterable[str]) -> None:
        """Remember which fallback parameters did not influence the latest logits."""
        self._idle = set(names)

    def coverage(self) -> dict[str, str]:
        """What accounts for each parameter: a rule, the fallback and why, no influence, or frozen."""
        report = dict.fromkeys(self._frozen, "frozen")
        for each in self._modules.values():
            report.update(dict.fromkeys(each.names.values(), f"rule: {type(each.rule).__name__}"))
        report.update({name: f"rule: its use in {kind}" for name, kind in self.sites.kinds.items()})
        for name in self.fallback_names():
            reason = self._reasons.get(name) or self.sites.reason(name) or "no rule for this parameter"
            report[name] = "no influence on the logits" if name in self._idle else f"{FALLBACK}: {reason}"
        return report


def _assigned(model: nn.Module, trainable: dict[str, nn.Parameter]) -> Iterable[AssignedModule]:
    full_names = {id(parameter): name for name, parameter in trainable.items()}
    holders = Counter(id(parameter) for module in model.modules() for parameter in module._parameters.values())
    for path, module in model.named_modules():
        rule = rule_for(module)
        if rule is None:
            continue
        names = {
            local: full_names[id(parameter)]
            for local, parameter in module._parameters.items()
            if local in rule.parameter_names and id(parameter) in full_names and holders[id(parameter)] == 1
        }
        if names:
            yield AssignedModule(path, module, rule, names)

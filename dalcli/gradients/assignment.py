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
class Owner:
    """A module whose rule accounts for some of its own parameters; ``names`` maps local names to the model's."""

    path: str
    module: nn.Module
    rule: Rule
    names: dict[str, str]


class Ownership:
    """Every trainable parameter belongs to exactly one owner, to the calls that take it (``sites``) or to the fallback.

    A rule may own a parameter if the module is the only one that holds it. What a forward pass shows later (a
    module called twice or never, inputs overwritten, a failed self-check) demotes an owner for good: the fallback
    is right whatever a module does. The set of trainable parameters is fixed when this is made.
    """

    def __init__(self, model: nn.Module) -> None:
        named = list(model.named_parameters())
        self.trainable = {name: parameter for name, parameter in named if parameter.requires_grad}
        self._frozen = [name for name, parameter in named if not parameter.requires_grad]
        self._owners = {owner.path: owner for owner in _owners(model, self.trainable)}
        self.sites = Sites(model, self.trainable)
        self._reasons: dict[str, str] = {}
        self._idle: set[str] = set()

    @property
    def owners(self) -> list[Owner]:
        """Modules whose rules are in force."""
        return list(self._owners.values())

    def fallback_names(self) -> list[str]:
        """Trainable parameters that no rule accounts for."""
        owned = {name for owner in self._owners.values() for name in owner.names.values()} | self.sites.kinds.keys()
        return [name for name in self.trainable if name not in owned]

    def demote(self, path: str, reason: str) -> list[str]:
        """Take an owner's parameters from it, for the fallback unless a later trace finds their uses; their names."""
        owner = self._owners.pop(path)
        for name in owner.names.values():
            self._reasons[name] = reason
        return list(owner.names.values())

    def mark_idle(self, names: Iterable[str]) -> None:
        """Remember which fallback parameters did not influence the latest logits."""
        self._idle = set(names)

    def coverage(self) -> dict[str, str]:
        """What accounts for each parameter: a rule, the fallback and why, no influence, or frozen."""
        report = dict.fromkeys(self._frozen, "frozen")
        for owner in self._owners.values():
            report.update(dict.fromkeys(owner.names.values(), f"rule: {type(owner.rule).__name__}"))
        report.update({name: f"rule: its use in {kind}" for name, kind in self.sites.kinds.items()})
        for name in self.fallback_names():
            reason = self._reasons.get(name) or self.sites.reason(name) or "no rule for this parameter"
            report[name] = "no influence on the logits" if name in self._idle else f"{FALLBACK}: {reason}"
        return report


def _owners(model: nn.Module, trainable: dict[str, nn.Parameter]) -> Iterable[Owner]:
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
            yield Owner(path, module, rule, names)

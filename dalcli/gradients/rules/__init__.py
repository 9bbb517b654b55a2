"""Layer rules: exact ‖g_u‖² and ⟨g_u, V⟩ per layer family, without per-sample gradients in memory.

A new family is one file here, one line in this list, one test against autograd.
"""

from dalcli.gradients.rules import conv, embedding, linear, norm, prelu
from dalcli.gradients.rules.base import Contribution, LayerCall, Rule, UnsupportedCallError, register, rule_for

__all__ = [
    "Contribution",
    "LayerCall",
    "Rule",
    "UnsupportedCallError",
    "conv",
    "embedding",
    "linear",
    "norm",
    "prelu",
    "register",
    "rule_for",
]

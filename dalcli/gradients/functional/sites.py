"""Keeps one pair of traces per input shape, and makes the interception of a scoring pass from it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

import torch
from torch import Tensor, nn

from dalcli.gradients.functional.intercept import Interception
from dalcli.gradients.functional.plan import FEW, Kind, Plan, Traces, make_plan
from dalcli.gradients.functional.record import Recorder


class Sites:
    """The parameters accounted for by the calls that take them; ``names`` shrinks when one of them disappoints."""

    def __init__(self, model: nn.Module, trainable: Mapping[str, nn.Parameter]) -> None:
        self._model = model
        self._trainable = trainable
        self._traces: dict[Hashable, Traces | None] = {}
        self._plans: dict[Hashable, Plan] = {}
        self._refused: dict[str, str] = {}
        self.kinds: dict[str, Kind] = {}

    def learn(self, shape: Hashable, sample: Tensor, candidates: Iterable[str]) -> bool:
        """Trace a new shape with copies of one sample (1, ...); True if parameters were taken on or given up.

        Costs two forward passes, with two samples and with three.
        """
        before = set(self.kinds)
        wanted = (set(candidates) | before) - self._refused.keys()
        if not wanted:
            return False
        if shape not in self._traces:
            self._traces[shape] = self._trace(sample)
        traces = self._traces[shape]
        plan = Plan([], {}) if traces is None else make_plan(traces, wanted)
        self._plans[shape] = plan
        for name in before - plan.names:
            self.refuse(name, "its use was not understood for every shape of input")
        self.kinds.update(plan.kinds)
        return set(self.kinds) != before

    def interception(
        self, shape: Hashable, samples: int, leaf: Tensor, parameters: Mapping[str, nn.Parameter]
    ) -> Interception | None:
        """What to run a forward pass with these ``parameters`` in; None if there is nothing to intercept."""
        if not self.kinds:
            return None
        plan = self._plans.get(shape)
        if plan is None or plan.names != self.kinds.keys():
            traces = self._traces.get(shape)
            if traces is None:
                return None
            plan = self._plans[shape] = make_plan(traces, self.kinds)
        return Interception(plan, parameters, samples, leaf)

    def refuse(self, name: str, reason: str) -> None:
        """Leave this parameter to the fallback, for good."""
        self._refused[name] = reason
        self.kinds.pop(name, None)

    def reason(self, name: str) -> str | None:
        """Why a parameter was refused, if it was."""
        return self._refused.get(name)

    def reconsider(self, shape: Hashable, names: Iterable[str]) -> bool:
        """Assume that samples lie innermost in the calls that take ``names``; False if that was assumed before."""
        traces, plan = self._traces.get(shape), self._plans.get(shape)
        if traces is None or plan is None:
            return False
        wanted = set(names)
        doubtful = {
            step.index
            for step in plan.steps
            if step.layout is not None and step.layout.each > 1 and step.names & wanted
        } - traces.innermost
        traces.innermost |= doubtful
        self._plans.pop(shape)
        return bool(doubtful)

    def _trace(self, sample: Tensor) -> Traces | None:
        records = []
        for samples in (FEW, FEW + 1):
            recorder = Recorder(self._trainable)
            roots = {recorder.token_of(value): name for name, value in self._trainable.items()}
            inputs = torch.cat([sample] * samples)
            try:
                with recorder:
                    self._model(inputs)
            except Exception:
                self._model(sample)  # a model that fails anyway has its own error to tell
                return None  # one that only dislikes being watched is for the fallback
            records.append(recorder.calls)
        traces = Traces(records[0], records[1], roots)
        return traces if traces.comparable else None

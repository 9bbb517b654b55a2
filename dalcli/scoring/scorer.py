"""A version's engine: made when it is first needed, within the configured memory, fed with pixels."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from dalcli.data.pixels import Inputs
from dalcli.errors import BadInputError
from dalcli.feedback import Feedback
from dalcli.gradients.dropout import DropoutSampler, DropoutSpec, NoDropoutError
from dalcli.gradients.engine import GradientEngine
from dalcli.gradients.precision import Precision
from dalcli.models.preprocess import to_input
from dalcli.state.versions import ModelVersion
from dalcli.workspace.loading import LoadedModel, load_version
from dalcli.workspace.session import Surroundings

PROCESSOR_LIMIT_BYTES = 2 << 30
GPU_SHARE = 0.8  # of the memory that is free
# Larger batches are not faster (cnn, resnet18, vgg11 at 32×32 on two cores); a GPU needs more to be busy.
PROCESSOR_BATCH, GPU_BATCH = 128, 1024
HEAD_BATCH = 2048  # features are small, and so is what is done with them

_NO_DROPOUT = (
    "set model.dropout (cnn, resnet18, vgg11), or another model that has dropout layers, and train again; "
    "or set scoring.mc_samples: 0"
)
_NO_DROPOUT_IN_HEADS = "the head of a frozen network has none: set scoring.mc_samples: 0"


class Scorer:
    """For scoring with one version: its engine, and what its pixels are to it. Files are read when first needed."""

    def __init__(self, session: Surroundings, model: ModelVersion, device: torch.device) -> None:
        self._session, self._model, self._device = session, model, device
        self._samplers: dict[DropoutSpec, DropoutSampler] = {}

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self._device

    @property
    def feedback(self) -> Feedback:
        """Where what it has to say goes."""
        return self._session.feedback

    @cached_property
    def loaded(self) -> LoadedModel:
        """The model, on the device."""
        return load_version(self._session, self._model, self._device)

    @cached_property
    def memory_limit(self) -> int:
        """Bytes for activations: as configured, or what is reasonable here."""
        configured = self._session.config.scoring.memory_limit
        if configured is not None:
            return configured
        if self._device.type == "cuda":
            return int(GPU_SHARE * torch.cuda.mem_get_info(self.loaded.device)[0])
        return PROCESSOR_LIMIT_BYTES

    @cached_property
    def engine(self) -> GradientEngine:
        precision = Precision(self._session.config.scoring.precision)
        try:
            precision.require(self._device)
        except ValueError as refusal:
            raise BadInputError(
                f"scoring.precision: {refusal}", remedy="set scoring.precision in dalcli.yaml"
            ) from None
        # Those of a frozen network are kept already, and only what screens samples reads them.
        features = self.loaded.meta.spec.frozen is None or self._session.config.scoring.prescreen < 1
        return GradientEngine(
            self.loaded.model,
            head=self.loaded.head,
            memory_limit_bytes=self.memory_limit,
            precision=precision,
            features=features,
        )

    def micro_batch(self) -> int:
        """Images to be scored at once: as configured, or a power of two that depends on model, size and limit only."""
        configured = self._session.config.scoring.batch_size
        if configured != "auto":
            return configured
        spec = self.loaded.meta.spec
        fitting = self.engine.samples_at_once(torch.zeros(1, *spec.input_shape, device=self._device))
        most = PROCESSOR_BATCH if self._device.type == "cpu" else GPU_BATCH
        most = most if spec.frozen is None else HEAD_BATCH
        return 1 << (min(fitting, most).bit_length() - 1)

    @property
    def notes(self) -> list[str]:
        """What the engine, and whoever drew dropout samples, has to say so far."""
        return [*self.engine.notes, *(note for sampler in self._samplers.values() for note in sampler.notes)]

    def sampler(self, spec: DropoutSpec) -> DropoutSampler:
        """What draws predictions under dropout masks.

        Raises:
            BadInputError: the model has no dropout.
        """
        if spec not in self._samplers:
            precision = Precision(self._session.config.scoring.precision)
            try:
                found = DropoutSampler(self.loaded.model, spec, head=self.loaded.head, precision=precision)
            except NoDropoutError:
                raise BadInputError(
                    f"scoring.mc_samples: model {self._model.version} has no dropout to draw samples with",
                    _NO_DROPOUT if self.loaded.meta.spec.frozen is None else _NO_DROPOUT_IN_HEADS,
                ) from None
            self._samplers[spec] = found
        return self._samplers[spec]

    def inputs(self, seen: Inputs) -> Tensor:
        """What the model sees: normalised, on the device."""
        return to_input(seen, self.loaded.meta.pixel_stats, self._device)

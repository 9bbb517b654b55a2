"""A version's engine within a memory limit: as many images at once as pay off, fewer if memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from functools import cached_property, partial
from typing import TypeVar

import torch
from torch import Tensor

from dalcli.data.pixels import UInt8Array
from dalcli.errors import BadInputError, DalcliError
from dalcli.gradients.dropout import DropoutSampler, DropoutSamples, DropoutSpec, NoDropoutError
from dalcli.gradients.engine import GradientEngine, GradientScores
from dalcli.gradients.forward import Prediction
from dalcli.gradients.pieces import joined
from dalcli.gradients.precision import Precision
from dalcli.gradients.sketch import SketchError, SketchSpec, sketch_error
from dalcli.models.preprocess import to_input
from dalcli.state.versions import ModelVersion
from dalcli.workspace.loading import LoadedModel, load_version
from dalcli.workspace.session import Surroundings

PROCESSOR_LIMIT_BYTES = 2 << 30
GPU_SHARE = 0.8  # of the memory that is free
# Larger batches are not faster (cnn, resnet18, vgg11 at 32×32 on two cores); a GPU needs more to be busy.
PROCESSOR_BATCH, GPU_BATCH = 128, 1024

Batches = Generator[tuple[Tensor, Tensor], None, None]
T = TypeVar("T")
Record = TypeVar("Record", GradientScores, Prediction, DropoutSamples)


class Scorer:
    """Scores and G_S of one version; its files are read when they are first needed.

    Raises DalcliError where memory does not even suffice for one image.
    """

    def __init__(self, session: Surroundings, model: ModelVersion, device: torch.device) -> None:
        self._session, self._model, self._device = session, model, device
        self._at_once: int | None = None  # known once memory ran out
        self._samplers: dict[DropoutSpec, DropoutSampler] = {}

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
        return GradientEngine(
            self.loaded.model, head=self.loaded.head, memory_limit_bytes=self.memory_limit, precision=precision
        )

    def micro_batch(self) -> int:
        """Images to be scored at once: as configured, or a power of two that depends on model, size and limit only."""
        configured = self._session.config.scoring.batch_size
        if configured != "auto":
            return configured
        height, width = self.loaded.meta.spec.image_size
        sample = torch.zeros(1, 3, height, width, device=self._device)
        fitting = self.engine.samples_at_once(sample)
        most = PROCESSOR_BATCH if self._device.type == "cpu" else GPU_BATCH
        return 1 << (min(fitting, most).bit_length() - 1)

    def score(
        self, pixels: UInt8Array, direction: Mapping[str, Tensor], sketch: SketchSpec | None = None
    ) -> GradientScores:
        """Scores of (n, H, W, 3) uint8 against ``direction``; n is halved as often as memory demands."""
        return self._in_pieces(pixels, lambda piece: self.engine.score(self.inputs(piece), direction, sketch))

    def predict(self, pixels: UInt8Array) -> Prediction:
        """What a forward pass tells of (n, H, W, 3) uint8."""
        return self._in_pieces(pixels, lambda piece: self.engine.predict(self.inputs(piece)))

    def dropout_samples(self, pixels: UInt8Array, spec: DropoutSpec) -> DropoutSamples:
        """Predictions for (n, H, W, 3) uint8 under dropout masks."""
        sampler = self.sampler(spec)
        return self._in_pieces(pixels, lambda piece: sampler.sample(self.inputs(piece)))

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
                    "set model.dropout (cnn, resnet18, vgg11), or another model that has dropout layers, and train "
                    "again; or set scoring.mc_samples: 0",
                ) from None
            self._samplers[spec] = found
        return self._samplers[spec]

    def sketch_error(self, pixels: UInt8Array, sketch: SketchSpec, direction: Mapping[str, Tensor]) -> SketchError:
        """Error of sketches of (n, H, W, 3) uint8, n ≥ 2, or of as many as memory allows."""
        while True:
            piece = pixels[: max(2, self._size(len(pixels)))]
            found = self._within_memory(
                lambda: sketch_error(self.engine, self.inputs(piece), sketch, direction),  # noqa: B023
                len(piece) if len(piece) > 2 else 1,  # pairs cannot be halved
            )
            if found is not None:
                return found

    def labeled_gradient(self, batches: Callable[[int], Batches], micro_batch: int) -> dict[str, Tensor]:
        """Σ ∇ℓ over what ``batches(n)`` yields, n at a time, in float64: a part of G_S, or all of it."""

        def total() -> dict[str, Tensor]:
            with closing(batches(self._size(micro_batch))) as opened:
                return self.engine.labeled_gradient(opened, double=True)

        while (found := self._within_memory(total, self._size(micro_batch))) is None:
            pass
        return found

    def inputs(self, pixels: UInt8Array) -> Tensor:
        """What the model sees: normalised, on the device."""
        return to_input(pixels, self.loaded.meta.pixel_stats, self._device)

    def _in_pieces(self, pixels: UInt8Array, work: Callable[[UInt8Array], Record]) -> Record:
        parts: list[Record] = []
        done = 0
        while done < len(pixels):
            piece = pixels[done : done + self._size(len(pixels))]
            part = self._within_memory(partial(work, piece), len(piece))
            if part is not None:
                parts.append(part)
                done += len(piece)
        return joined(parts)

    def _size(self, wanted: int) -> int:
        return wanted if self._at_once is None else min(wanted, self._at_once)

    def _within_memory(self, work: Callable[[], T], size: int) -> T | None:
        """What ``work`` on ``size`` images returns; None if they were too many, and fewer will be tried."""
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
        # Only here, when the error and all that it holds on to are gone, is there memory again.
        if size == 1:
            raise DalcliError(
                f"scoring ran out of memory on {self._device} with a single image",
                "End other programs that use it, or set a smaller data.image_size and train again.",
            )
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        self._at_once = size // 2
        self._session.feedback.note(f"out of memory with {size} images at once: going on with {self._at_once}")
        return None


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)  # the processor's allocator

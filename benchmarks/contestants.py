"""Who competes with the scoring engine: training steps, a forward pass, the peers; on one batch of random images.

Not a benchmark itself: ``engine.py`` times contestants, and measures their memory.
"""

from __future__ import annotations

import copy
import dataclasses
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from measuring import Work, growth, in_fresh_process
from peers import PEERS, Method, UnavailableError, first_line
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import convnext, swin_transformer, vision_transformer

from dalcli.gradients.direction import RandomDirection
from dalcli.gradients.engine import GradientEngine
from dalcli.gradients.kernels import lay_out
from dalcli.gradients.projection import SketchSpec
from dalcli.models import zoo
from dalcli.models.head import find_head
from dalcli.models.spec import ModelSpec, resolve_stem

OWN = ("train", "train-nhwc", "forward", "predict", "engine", "sketch")
MEMORY_LIMIT = 8 * 2**30


@dataclass(frozen=True)
class Setting:
    """One cell of a table: a model, and random square images; ``sketch`` numbers per sample, or 0 for none."""

    model: str
    batch: int
    size: int
    device: str
    classes: int = 10
    sketch: int = 0


def _small_vit(setting: Setting) -> nn.Module:
    patch = max(4, setting.size // 8)
    return vision_transformer.VisionTransformer(setting.size, patch, 6, 3, 192, 768, num_classes=setting.classes)


def _small_swin(setting: Setting) -> nn.Module:
    return swin_transformer.SwinTransformer([2, 2], 48, [2, 2, 2], [3, 6, 12], [4, 4], num_classes=setting.classes)


def _small_convnext(setting: Setting) -> nn.Module:
    widths = [(48, 96), (96, 192), (192, None)]
    blocks = [convnext.CNBlockConfig(inside, outside, 2) for inside, outside in widths]
    return convnext.ConvNeXt(blocks, num_classes=setting.classes)


SMALL: dict[str, Callable[[Setting], nn.Module]] = {
    "small-vit": _small_vit,
    "small-swin": _small_swin,
    "small-convnext": _small_convnext,
}


def build_model(setting: Setting) -> nn.Module:
    """One of the product's models, or a small variant of a family whose parameters functions take."""
    if setting.model in SMALL:
        torch.manual_seed(0)
        return SMALL[setting.model](setting).to(setting.device)
    size = (setting.size, setting.size)
    spec = ModelSpec(name=setting.model, num_classes=setting.classes, image_size=size, stem=resolve_stem(size))
    return zoo.build(spec, seed=0).to(setting.device)


@dataclass(frozen=True)
class Round:
    """What all contestants of a setting share: the model, images (n, 3, H, W) and their pseudo-labels (n,)."""

    setting: Setting
    model: nn.Module
    inputs: Tensor
    labels: Tensor

    @classmethod
    def of(cls, setting: Setting) -> Round:
        model = build_model(setting).eval()
        inputs = torch.randn(setting.batch, 3, setting.size, setting.size, device=setting.device)
        with torch.no_grad():  # two at a time: whole batches are for contestants, whose memory is measured
            labels = torch.cat([model(some).argmax(1) for some in inputs.split(2)])
        return cls(setting, model, inputs, labels)

    @cached_property
    def direction(self) -> dict[str, Tensor]:
        """V: an input, as the images are."""
        return dict(RandomDirection(dict(self.model.named_parameters())))

    @cached_property
    def trained(self) -> nn.Module:
        """Its own copy for training steps: they change buffers, after which an engine would make its replicas anew."""
        return copy.deepcopy(self.model)

    @cached_property
    def loaded(self) -> nn.Module:
        """The model as ``dalcli`` loads it for scoring: kernels channels-last."""
        model = copy.deepcopy(self.model)
        lay_out(model)
        return model

    def engine(self) -> GradientEngine:
        head = find_head(self.loaded, self.setting.classes)
        return GradientEngine(self.loaded, head=head, memory_limit_bytes=MEMORY_LIMIT)


def enter(name: str, contest: Round) -> Work:
    """A contestant, ready to run. UnavailableError: a peer that is not installed or refuses the model."""
    model, inputs, labels = contest.model, contest.inputs, contest.labels
    if name == "train":
        return partial(_train, contest.trained, inputs, labels)
    if name == "train-nhwc":
        trained = contest.trained
        return lambda: _train(trained, inputs.contiguous(memory_format=torch.channels_last), labels)
    if name == "forward":
        return lambda: _forward(model, inputs)
    direction = contest.direction
    if name in PEERS:
        return partial(PEERS[name](model, direction), inputs, labels)
    engine = contest.engine()
    if name == "predict":
        return lambda: engine.predict(inputs)
    sketch = SketchSpec(0, contest.setting.sketch) if name == "sketch" else None
    return lambda: engine.score(inputs, direction, sketch=sketch)


def contestants(setting: Setting, names: Iterable[str]) -> tuple[dict[str, Work], list[str]]:
    """Each as a function without arguments, and a line for every peer that cannot take part."""
    contest = Round.of(setting)
    works: dict[str, Work] = {}
    missing = []
    for name in names:
        try:
            if name in PEERS:
                _require_agreement(PEERS[name](contest.model, contest.direction), contest)
            works[name] = enter(name, contest)
        except UnavailableError as reason:
            missing.append(f"{setting.model}, {name}: {reason}")
    return works, missing


def _require_agreement(method: Method, contest: Round) -> None:
    """A peer must do the same work: the same norms and inner products on two samples."""
    direction = contest.direction
    scores = contest.engine().score(contest.inputs[:2], direction)
    assert scores.inner is not None
    try:
        squares, inners = method(contest.inputs[:2], contest.labels[:2])
    except Exception as failure:  # peers fail in many ways; one that cannot run is no contestant
        raise UnavailableError(f"fails: {first_line(failure)}") from None
    scale = scores.sq_norm.sqrt() * sum(float(value.square().sum()) for value in direction.values()) ** 0.5
    close = (squares.double() - scores.sq_norm).abs() <= 1e-2 * scores.sq_norm
    close &= (inners.double() - scores.inner).abs() <= 1e-2 * scale
    if not bool(close.all()):
        raise UnavailableError("returns other gradients")


def _train(model: nn.Module, inputs: Tensor, labels: Tensor) -> None:
    """Forward and backward of all parameters; no optimizer."""
    model.train()
    functional.cross_entropy(model(inputs), labels).backward()
    model.zero_grad(set_to_none=True)


def _forward(model: nn.Module, inputs: Tensor) -> None:
    model.eval()
    with torch.no_grad():
        model(inputs)


def peak_growth(setting: Setting, name: str, threads: int) -> int:
    """Bytes that a contestant needs beyond its inputs (model, images, V); to be called in a fresh process.

    Counted are activations, gradients, working memory and the engine's self-check. Libraries, which allocate once,
    have been warmed up by a batch of two.
    """
    torch.set_num_threads(threads)
    enter(name, Round.of(dataclasses.replace(setting, batch=2)))()
    contest = Round.of(setting)
    if name in {"engine", "sketch", *PEERS}:
        assert contest.direction and contest.loaded is not contest.model  # made now
    if name in {"train", "train-nhwc"}:
        assert contest.trained is not contest.model  # made now

    def three_times() -> None:
        work = enter(name, contest)
        for _ in range(3):
            work()

    return growth(three_times, setting.device)


def peak_growths(setting: Setting, names: Iterable[str], threads: int, repeats: int) -> dict[str, float]:
    """Median bytes of each contestant, every figure from a fresh process, in turns."""
    found: dict[str, list[int]] = {name: [] for name in names}
    for _ in range(repeats):
        for name, values in found.items():
            values.append(in_fresh_process(peak_growth, setting, name, threads))
    return {name: statistics.median(values) for name, values in found.items()}

"""The shape of ``dalcli.yaml``: every key, its default, its range and what it means.

Unknown keys are errors (a typo must not silently become a default). Field descriptions are the reference
documentation of the configuration: ``docs/config.md`` is generated from them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from dalcli.config.class_names import problem_with_classes
from dalcli.config.planning import CostsConfig, PlanConfig
from dalcli.config.querying import FROZEN_QUERY, QueryConfig
from dalcli.config.running import RunConfig, TrackingConfig
from dalcli.config.training import TrainingConfig
from dalcli.config.values import Section, as_batch_size, as_bytes, as_pair

ImageSize = tuple[int, int]
"""Height and width, in pixels."""
Pixels = Annotated[int, Field(ge=1, le=4096)]


class DataConfig(Section):
    """How images become pixels."""

    image_size: Annotated[tuple[Pixels, Pixels] | Literal["auto"], BeforeValidator(as_pair)] = Field(
        "auto", description="height and width fed to the model; one number for a square; auto: chosen by `init`"
    )
    resize: Literal["stretch", "crop", "pad"] = Field(
        "stretch",
        description="stretch: whole image, aspect ratio lost; crop: shorter side fits, centre kept; "
        "pad: longer side fits, black border",
    )
    alpha_background: tuple[
        Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)]
    ] = Field((255, 255, 255), description="RGB colour that transparent pixels are composited on")
    workers: int | None = Field(None, ge=1, le=256, description="image decoding threads; default: processor cores")
    cache: bool = Field(
        True,
        description="keep decoded pixels in `.dalcli/cache`, so that later rounds read no image file again; "
        "the folder may be deleted at any time",
    )
    features: Literal["float32", "float16"] = Field(
        "float32",
        description="how a frozen network's features are kept in `.dalcli/cache`: float16 takes half the disk",
    )


class ModelConfig(Section):
    """What is trained."""

    name: str = Field(
        "auto",
        min_length=1,
        description="cnn, resnet18, vgg11, any torchvision classification model, module:function of your own, "
        "with train: head also timm:NAME; or auto: chosen by `init` from the image sizes",
    )
    train: Literal["all", "head"] = Field(
        "all",
        description="all: the whole network; head: only a softmax regression on the features of a frozen, pretrained "
        "network (`weights`), which takes seconds",
    )
    stem: Literal["auto", "small", "large"] = Field(
        "auto",
        description="resnet18's first layers: small is 3×3 stride 1 without pooling, large is ImageNet's; "
        "auto: large from 96 pixels on",
    )
    weights: str | None = Field(
        None,
        description="start from pretrained weights: a .safetensors file (relative to the workspace; with train: head "
        "also .pth), or a torchvision weights name such as DEFAULT or IMAGENET1K_V1, which is downloaded",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before the last linear layer (cnn, resnet18, vgg11)")


class ScoringConfig(Section):
    """How the pool is scored."""

    batch_size: Annotated[Annotated[int, Field(ge=1)] | Literal["auto"], BeforeValidator(as_batch_size)] = Field(
        "auto", description="images scored at once; auto: as many as pay off and fit memory_limit"
    )
    memory_limit: Annotated[Annotated[int, Field(ge=1_000_000)] | None, BeforeValidator(as_bytes)] = Field(
        None,
        description="memory for activations, in bytes or with a unit (512MiB, 2GiB); "
        "default: 2 GiB on a processor, 80% of what is free on a GPU",
    )
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32",
        description="arithmetic of the passes: float32 is exact; tf32 (NVIDIA GPUs) and bfloat16 are faster and "
        "choose nearly the same batch (docs/benchmarks.md)",
    )
    shard_size: int = Field(2048, ge=1, description="images per result file: what a killed `score` can lose at most")
    sketch: int = Field(
        0,
        ge=0,
        le=65536,
        description="numbers per image kept as a sketch of its gradient wherever gradients are computed; inner "
        "products of sketches estimate those of the full gradients with an error of about √(2 / sketch); 0: none",
    )
    prescreen: float = Field(
        1.0,
        gt=0,
        le=1,
        description="the fraction of the pool that gets exact gradient scores, wherever gradients are computed: what a "
        "forward pass finds most promising for Δ with query.gamma; `score` says what that may have missed; 1: all",
    )
    mc_samples: int = Field(
        0,
        ge=0,
        le=1000,
        description="predictions per image under different dropout masks (20, say), computed for `bald`, `batchbald` "
        "and `score --full`; needs a model with dropout; 0: none",
    )

    @field_validator("mc_samples")
    @classmethod
    def _more_than_one(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one prediction has none to disagree with: use 0 (off), or 2 and more")
        return value


class LabelsConfig(Section):
    """What the votes of several annotators amount to."""

    consensus: Literal["unanimous", "majority", "dawid-skene"] = Field(
        "unanimous",
        description="what settles a dispute: unanimous: only that those who disagree come to agree; majority: more "
        "than half of the votes; dawid-skene: what is probably true, given how often each annotator errs (EM)",
    )
    certainty: float = Field(0.9, gt=0.5, le=1, description="dawid-skene: the least probability that settles a dispute")


class EvaluationConfig(Section):
    """How honest the measured accuracy is."""

    reserve: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="fraction of the pool set aside for evaluation at registration; 0 when a test set is given",
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="level of the confidence intervals")
    calibration_bins: int = Field(15, ge=1, le=1000, description="bins of the expected calibration error")


class Config(Section):
    """All of ``dalcli.yaml``."""

    seed: int = Field(0, ge=0, lt=2**63, description="every random choice derives from this number")
    classes: tuple[str, ...] | None = Field(
        None, description="ordered class names; after `init` the database owns them and this must not contradict"
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$", description="auto, cpu, cuda, cuda:1 or mps")
    threads: int | None = Field(
        None, ge=1, le=1024, description="processor threads of torch; default: all cores; part of reproducibility"
    )
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    scoring: ScoringConfig = ScoringConfig()
    query: QueryConfig = QueryConfig()
    labels: LabelsConfig = LabelsConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    plan: PlanConfig = PlanConfig()
    costs: CostsConfig = CostsConfig()
    run: RunConfig = RunConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="before")
    @classmethod
    def _what_suits_a_frozen_network(cls, values: object) -> object:
        """Defaults of `query` differ by what is trained: docs/strategies.md."""
        if not isinstance(values, dict) or not isinstance(values.get("model"), dict):
            return values
        query = values.get("query") or {}
        if values["model"].get("train") != "head" or not isinstance(query, dict):
            return values
        return values | {"query": FROZEN_QUERY | query}

    @field_validator(
        "data",
        "model",
        "training",
        "scoring",
        "query",
        "labels",
        "evaluation",
        "plan",
        "costs",
        "run",
        "tracking",
        mode="before",
    )
    @classmethod
    def _empty_section(cls, value: object) -> object:
        """``query:`` with nothing below it (all of it commented out, say) means the defaults."""
        return {} if value is None else value

    @field_validator("classes", mode="before")
    @classmethod
    def _class_names(cls, value: object) -> object:
        problem = problem_with_classes(value) if isinstance(value, list | tuple) else None
        if problem is not None:
            raise ValueError(problem)
        return value

"""The shape of ``dalcli.yaml``: every key, its default, its range and what it means.

Unknown keys are errors (a typo must not silently become a default). Field descriptions are the reference
documentation of the configuration: ``docs/config.md`` is generated from them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from dalcli.config.class_names import problem_with_classes
from dalcli.config.planning import CostsConfig, PlanConfig
from dalcli.config.running import RunConfig, TrackingConfig
from dalcli.config.values import Section, as_batch_size, as_bytes, as_gamma, as_pair, as_penalty

ImageSize = tuple[int, int]
"""Height and width, in pixels."""
MAX_BUDGET = 10**9
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


class TrainingConfig(Section):
    """How the model is trained to convergence on the labels there are."""

    optimizer: Literal["adam", "adamw", "sgd"] = Field("adam", description="optimizer; fresh in every round")
    learning_rate: float = Field(1e-3, gt=0, description="initial learning rate")
    weight_decay: float = Field(0.0, ge=0, description="weight decay")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum (sgd only)")
    schedule: Literal["constant", "cosine", "step"] = Field(
        "constant", description="learning rate over epochs; cosine reaches 0 at max_epochs; step: ×0.1 at 1/2 and 3/4"
    )
    batch_size: int = Field(32, ge=1, description="images per optimizer step")
    max_epochs: int = Field(200, ge=1, description="stop here even if not converged (exit 0, with a warning)")
    min_epochs: int = Field(1, ge=1, description="never call it converged before this many epochs")
    accuracy_threshold: float = Field(
        0.99, gt=0, le=1, description="train accuracy, measured in eval mode, that counts as converged..."
    )
    hold_epochs: int = Field(3, ge=1, description="...once it has held for this many epochs in a row")
    patience: int = Field(
        50, ge=1, description="stop after this many epochs without a better training loss (not converged)"
    )
    start: Literal["warm", "reinit"] = Field(
        "warm", description="warm: continue from the previous model version; reinit: fresh weights every round"
    )
    augmentation: Literal["none", "flip", "crop-flip"] = Field(
        "none", description="random horizontal flips, or flips and shifts by up to 1/8 of the size; never when scoring"
    )
    mixed_precision: Literal["auto", "on", "off"] = Field("auto", description="auto: bfloat16/float16 on GPUs only")
    penalty: Annotated[Annotated[float, Field(gt=0, le=1e6)] | Literal["auto"], BeforeValidator(as_penalty)] = Field(
        "auto",
        description="train: head only: weight of the L2 penalty; auto: by cross-validation on the labels",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="train: head only: balanced lets every class count alike, however many labels it has"
    )

    auto_labels: bool = Field(
        False,
        description="train on the labels of `predict --auto`, too; no version that was, can label in its turn",
    )

    @model_validator(mode="after")
    def _epochs_in_order(self) -> TrainingConfig:
        if self.min_epochs > self.max_epochs:
            raise ValueError(f"min_epochs ({self.min_epochs}) is larger than max_epochs ({self.max_epochs})")
        return self


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


class ComposeConfig(Section):
    """A strategy of your own, put together from parts: `query.strategy: composed`."""

    score: Literal["uniform", "dynamical", "margin", "entropy", "confidence"] = Field(
        "dynamical", description="what makes a sample worth a label; uniform: nothing, only where it lies counts"
    )
    power: float | None = Field(
        None,
        ge=0,
        le=1000,
        description="draw in proportion to score^power instead of taking the highest; not set: take the highest",
    )
    class_balance: bool = Field(
        False, description="take the highest of every predicted class in turn, the rarest among the labeled first"
    )
    selection: Literal["top", "kmeans++", "k-center", "lcmd", "clusters"] = Field(
        "top",
        description="top: the highest scores; else the batch is spread over `space`: by draws in proportion to squared "
        "distances, farthest first, largest cluster first, or in turn from clusters",
    )
    candidates: float | None = Field(
        10.0,
        ge=1,
        le=1e9,
        description="spread over the highest scores, this many times the budget; null: over the whole pool",
    )
    space: Literal["features", "probabilities", "last-layer", "sketch"] = Field(
        "features",
        description="where samples are near each other: the last layer's inputs, predictions, the last layer's "
        "gradients (BADGE), or sketches of all gradients (needs `scoring.sketch`)",
    )
    weight: float = Field(
        0.0, ge=0, le=1000, description="kmeans++: draws are in proportion to distance² · score^weight"
    )
    relative: bool = Field(
        False, description="kmeans++: distances relative to the length; with weight 1, the first draw is by score alone"
    )
    apart_from_labeled: bool = Field(
        False, description="keep away from labeled samples too, not only from the batch and from what is in flight"
    )

    @model_validator(mode="after")
    def _parts_that_fit(self) -> ComposeConfig:
        if self.selection != "kmeans++" and (self.weight > 0 or self.relative):
            raise ValueError(f"weight and relative belong to selection: kmeans++, not {self.selection}")
        if self.selection == "clusters" and self.space == "last-layer":
            raise ValueError("selection: clusters needs means, which last-layer gradients have none of: use sketch")
        return self


class QueryConfig(Section):
    """What is asked next."""

    strategy: str = Field(
        "diverse-margin",
        description="how samples are chosen once there is a model; `score` computes what this strategy reads; default "
        "with `model.train: head`: uncertainty-herding",
    )
    cold_start: str = Field(
        "random",
        description="how samples are chosen while there is no model: random, or by what images look like: typiclust, "
        "maxherding, coreset, or composed of features alone; default with `model.train: head`: maxherding",
    )
    gamma: Annotated[float, BeforeValidator(as_gamma)] = Field(
        2.0,
        ge=0,
        allow_inf_nan=True,
        description="weight of the interaction with the labeled set in Δ (Eq. 15); 0 to inf",
    )
    budget: int | None = Field(None, ge=1, le=MAX_BUDGET, description="default of `query --budget`")
    memory_limit: Annotated[int, Field(ge=1_000_000), BeforeValidator(as_bytes)] = Field(
        1536 << 20,
        description="memory for the columns of samples that a strategy compares, in bytes or with a unit; if the pool "
        "needs more, a random part of it is compared",
    )
    control: float = Field(
        0.0,
        ge=0,
        le=1,
        description="fraction of every training batch that is drawn at random instead, to tell what the strategy is "
        "worth (`evaluate --control`): 0.1, say",
    )
    close_at: float = Field(
        1.0, gt=0, le=1, description="a batch closes once this fraction is answered; the rest is released"
    )
    experts: tuple[str, ...] = Field(
        ("coreset", "confidence"), min_length=2, description="the strategies that `albl` learns to choose between"
    )
    compose: ComposeConfig = ComposeConfig()

    @field_validator("experts")
    @classmethod
    def _different_experts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("the same strategy is named twice")
        return value

    @field_validator("compose", mode="before")
    @classmethod
    def _empty_section(cls, value: object) -> object:
        """``compose:`` with nothing below it means the defaults."""
        return {} if value is None else value


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


FROZEN_QUERY = {"strategy": "uncertainty-herding", "cold_start": "maxherding"}
"""Defaults of `query` with `train: head`."""


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

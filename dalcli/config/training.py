"""Section ``training`` of ``dalcli.yaml``: how a model is made from labels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from dalcli.config.values import Section, as_penalty


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

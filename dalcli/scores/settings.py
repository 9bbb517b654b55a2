"""What a score table is made with: a value that is kept with it, and compared before its columns are gone on with."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import BaseModel, ConfigDict, ValidationError

from dalcli.config.hashing import derive_seed, fingerprint
from dalcli.config.schema import Config
from dalcli.scores.columns import Group
from dalcli.state.versions import ModelVersion

_FROZEN = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class GradientSettings(BaseModel):
    """How gradient columns are made.

    ``sketch``: numbers per sketch (0: none), ``sketch_seed`` theirs. ``prescreen``: the fraction that gets exact scores
    (1: all), by its Δ with ``gamma``.
    """

    model_config = _FROZEN
    sketch: int = 0
    sketch_seed: int = 0
    prescreen: float = 1.0
    gamma: float = 0.0

    @property
    def prescreened(self) -> bool:
        """Whether some samples have no exact scores."""
        return self.prescreen < 1

    def shortcoming(self, wanted: GradientSettings) -> str | None:
        """Why columns made with these do not serve ``wanted``, in words; None where they do.

        Sketches of any seed will do, and a prescreen for any γ: ``query`` says so when it asks for another.
        """
        if wanted.sketch not in {0, self.sketch}:
            before = f"sketches of {self.sketch} numbers" if self.sketch else "no sketches"
            return f"the scores have {before}, and scoring.sketch asks for {wanted.sketch}"
        if self.prescreen < wanted.prescreen:
            return (
                f"only {self.prescreen:.3g} of the pool was scored exactly, "
                f"and scoring.prescreen asks for {wanted.prescreen:.3g}"
            )
        return None


class DropoutSettings(BaseModel):
    """Predictions under dropout masks: ``samples`` for each image, masks of ``seed``."""

    model_config = _FROZEN
    samples: int
    seed: int

    def shortcoming(self, wanted: DropoutSettings) -> str | None:
        """Why columns made with these do not serve ``wanted``, in words; masks of any seed will do."""
        if self.samples >= wanted.samples:
            return None
        return f"the scores have {self.samples} dropout samples, and scoring.mc_samples asks for {wanted.samples}"


class TableSettings(BaseModel):
    """Everything the numbers of a table depend on, besides the samples; None for a group that it does not hold.

    ``pixels``: a fingerprint of what the model is and sees: no column survives when it changes.
    """

    model_config = _FROZEN
    pixels: str
    gradients: GradientSettings | None = None
    dropout: DropoutSettings | None = None

    @property
    def groups(self) -> frozenset[Group]:
        """The groups that are made with these settings."""
        optional = {Group.GRADIENTS: self.gradients, Group.DROPOUT: self.dropout}
        return frozenset({Group.PREDICTIONS, *(group for group, made in optional.items() if made is not None)})

    @property
    def gradient_key(self) -> str:
        """A name for what gradient columns depend on: what is settled once for all of them is kept under it."""
        return TableSettings(pixels=self.pixels, gradients=self.gradients).text()

    def text(self) -> str:
        """JSON that :meth:`parse` reads."""
        return self.model_dump_json()

    @classmethod
    def parse(cls, text: str) -> TableSettings | None:
        """What :meth:`text` wrote; None for anything else, a newer program's settings, say: those serve nobody."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            return None

    def shortcomings(self, wanted: TableSettings) -> dict[Group, str]:
        """Groups that a table made with these has to make again for ``wanted``, which sees the same pixels, and why."""
        found: dict[Group, str] = {}
        if self.gradients is not None and wanted.gradients is not None:
            found[Group.GRADIENTS] = self.gradients.shortcoming(wanted.gradients) or ""
        if self.dropout is not None and wanted.dropout is not None:
            found[Group.DROPOUT] = self.dropout.shortcoming(wanted.dropout) or ""
        return {group: reason for group, reason in found.items() if reason}

    def extended(self, wanted: TableSettings) -> TableSettings:
        """These, with the groups of ``wanted`` added, and those made as ``wanted`` says that did not serve it."""
        again = self.shortcomings(wanted)
        kept_gradients = self.gradients is not None and Group.GRADIENTS not in again
        kept_dropout = self.dropout is not None and Group.DROPOUT not in again
        return TableSettings(
            pixels=self.pixels,
            gradients=self.gradients if kept_gradients else wanted.gradients,
            dropout=self.dropout if kept_dropout else wanted.dropout,
        )


def pixels_fingerprint(config: Config, model: ModelVersion) -> str:
    """Changes when the model is another one, or would see other pixels (always at the size it was trained with).

    So does arithmetic in fewer digits: its scores are others.
    """
    precision = config.scoring.precision
    rounded = [] if precision == "float32" else [precision]
    return fingerprint(
        model.fingerprint, model.labels_digest, config.data.resize, config.data.alpha_background, *rounded
    )


def wanted_settings(config: Config, model: ModelVersion, groups: Collection[Group]) -> TableSettings:
    """How the configuration asks for ``groups`` to be made; predictions always come along."""
    return TableSettings(
        pixels=pixels_fingerprint(config, model),
        gradients=_gradients(config, model) if Group.GRADIENTS in groups else None,
        dropout=_dropout(config, model) if Group.DROPOUT in groups else None,
    )


def _gradients(config: Config, model: ModelVersion) -> GradientSettings:
    sketch, prescreen = config.scoring.sketch, config.scoring.prescreen
    return GradientSettings(
        sketch=sketch,
        sketch_seed=derive_seed(config.seed, "gradient sketch", model.version) if sketch else 0,
        prescreen=prescreen,
        gamma=config.query.gamma if prescreen < 1 else 0.0,
    )


def _dropout(config: Config, model: ModelVersion) -> DropoutSettings | None:
    samples = config.scoring.mc_samples
    if not samples:
        return None
    return DropoutSettings(samples=samples, seed=derive_seed(config.seed, "dropout masks", model.version))

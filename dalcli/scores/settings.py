"""What a score table was made with, as one line of text that is kept with it. Never imports torch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dalcli.config.hashing import derive_seed, fingerprint
from dalcli.config.schema import Config
from dalcli.state.versions import ModelVersion

_TEXT = re.compile(
    r"(?P<pixels>\S+)( sketch=(?P<sketch>\d+):(?P<seed>\d+))?( prescreen=(?P<prescreen>\S+):(?P<gamma>\S+))?"
    r"( mc=(?P<mc>\d+):(?P<mc_seed>\d+))?"
)


@dataclass(frozen=True)
class TableSettings:
    """``pixels``: a fingerprint of what the model is and sees. ``sketch``: numbers per sketch (0: none), ``seed``
    theirs. ``prescreen``: the fraction that gets exact scores (1: all), by its Δ with ``gamma``.
    ``mc_samples``: predictions under dropout masks per sample (0: none), ``mc_seed`` theirs.
    """

    pixels: str
    sketch: int = 0
    seed: int = 0
    prescreen: float = 1.0
    gamma: float = 0.0
    mc_samples: int = 0
    mc_seed: int = 0

    @property
    def prescreened(self) -> bool:
        """Whether some samples have no exact scores."""
        return self.prescreen < 1

    def text(self) -> str:
        """One line that :meth:`parse` reads."""
        sketch = f" sketch={self.sketch}:{self.seed}" if self.sketch else ""
        prescreen = f" prescreen={self.prescreen!r}:{self.gamma!r}" if self.prescreened else ""
        dropout = f" mc={self.mc_samples}:{self.mc_seed}" if self.mc_samples else ""
        return self.pixels + sketch + prescreen + dropout

    @classmethod
    def parse(cls, text: str) -> TableSettings:
        """What :meth:`text` wrote; of anything else, settings that serve nobody."""
        found = _TEXT.fullmatch(text)
        if found is None:
            return cls(text)
        prescreen, gamma = found["prescreen"], found["gamma"]
        return cls(
            found["pixels"],
            int(found["sketch"] or 0),
            int(found["seed"] or 0),
            1.0 if prescreen is None else float(prescreen),
            0.0 if gamma is None else float(gamma),
            int(found["mc"] or 0),
            int(found["mc_seed"] or 0),
        )

    def serves(self, wanted: TableSettings) -> bool:
        """Whether a table made with these has all that ``wanted`` asks for, or more.

        Sketches and masks of any seed will do, and a prescreen for any γ: ``query`` says so when it asks for another.
        """
        sketched = wanted.sketch in {0, self.sketch}
        enough = self.prescreen >= wanted.prescreen and self.mc_samples >= wanted.mc_samples
        return self.pixels == wanted.pixels and sketched and enough

    def shortcoming(self, wanted: TableSettings) -> str | None:
        """Why these do not serve, in words; None where they do, or have nothing in common with ``wanted``."""
        if self.pixels != wanted.pixels or self.serves(wanted):
            return None
        if wanted.sketch not in {0, self.sketch}:
            before = f"sketches of {self.sketch} numbers" if self.sketch else "no sketches"
            return f"the scores have {before}, and scoring.sketch asks for {wanted.sketch}"
        if self.mc_samples < wanted.mc_samples:
            before = f"{self.mc_samples} dropout samples" if self.mc_samples else "no dropout samples"
            return f"the scores have {before}, and scoring.mc_samples asks for {wanted.mc_samples}"
        return (
            f"only {self.prescreen:.3g} of the pool was scored exactly, "
            f"and scoring.prescreen asks for {wanted.prescreen:.3g}"
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


def wanted_settings(config: Config, model: ModelVersion) -> TableSettings:
    """What the configuration asks for."""
    sketch = config.scoring.sketch
    seed = derive_seed(config.seed, "gradient sketch", model.version) if sketch else 0
    prescreen = config.scoring.prescreen
    gamma = config.query.gamma if prescreen < 1 else 0.0
    samples = config.scoring.mc_samples
    mc_seed = derive_seed(config.seed, "dropout masks", model.version) if samples else 0
    return TableSettings(pixels_fingerprint(config, model), sketch, seed, prescreen, gamma, samples, mc_seed)

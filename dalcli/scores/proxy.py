"""What a forward pass tells about ‖g_u‖² and ⟨g_u, G_S⟩, learnt from samples whose exact values are known.

With q = p − e_ŷ both are forms in q: ‖g‖² = qᵀ Θ(x) q with the empirical tangent kernel Θ(x), and ⟨g, G_S⟩ = qᵀ J(x)
with J the derivative of the logits along G_S. Of the last layer, which reads h, they are (‖h‖² + 1)‖q‖² and
q·(V h + v). All layers together are fitted by kernel ridge regression, in the unit vectors q̂ and ĥ:

    log ‖g‖² − log ‖q‖²   (q̂·q̂')² (1 + ĥ·ĥ'), a form in q̂ whose matrix is linear in ĥ, and a few numbers that
                          describe h and q (see :func:`described`)
    ⟨g, G_S⟩ / ‖q‖        (q̂·q̂') (h·h' + s²), the last layer's tangent kernel; as weights q̂ᵀ W (h, s)

Both penalties are those with the least leave-one-out error. numpy only, float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dalcli.scores.columns import Floats

PENALTIES = np.logspace(-6, 2, 17)
TINY = float(np.finfo(np.float64).tiny)
DESCRIPTIONS = 4


@dataclass(frozen=True, eq=False)
class Proxy:
    """Estimates of ‖g‖² and ⟨g, G_S⟩, learnt from c samples.

    ``centre``, ``slopes`` (4,) and ``shift`` are those of :func:`described`, centred; ``units`` q̂ (c, K),
    ``directions`` ĥ (c, d) and ``dual`` (c,) those of the form in q̂; ``inner_weights`` W (K, d + 1) for features
    divided by ``scale``.
    """

    shift: float
    centre: Floats
    slopes: Floats
    units: Floats
    directions: Floats
    dual: Floats
    inner_weights: Floats
    scale: float

    def estimates(self, residuals: Floats, features: Floats) -> tuple[Floats, Floats]:
        """Estimated ‖g‖² and ⟨g, G_S⟩, (n,) each; residuals q (n, K), features h (n, d).

        Zero where q is; NaN where an input is not finite.
        """
        residuals, features = np.asarray(residuals, np.float64), np.asarray(features, np.float64)
        with np.errstate(all="ignore"):  # a diverged model's infinities end as NaN
            lengths, unit = unit_rows(residuals)
            _, directions = unit_rows(features)
            logs = self.shift + (described(lengths, unit, features) - self.centre) @ self.slopes
            logs += _forms(unit, directions, self.units, self.directions) @ self.dual
            sq_norm = np.where(lengths > 0, np.exp(logs) * lengths**2, 0.0 * logs)
            inner = lengths * ((unit @ self.inner_weights) * _extended(features, self.scale)).sum(1)
        return sq_norm, inner


@dataclass(frozen=True, eq=False)
class Fit:
    """A proxy, and its estimates for the samples it was learnt from as if each had been left out: (n,) each."""

    proxy: Proxy
    sq_norm: Floats
    inner: Floats


def fit(residuals: Floats, features: Floats, sq_norm: Floats, inner: Floats) -> Fit | None:
    """Learn from n samples with exact ``sq_norm`` and ``inner`` (n,).

    Samples that are not finite or have no gradient teach nothing (their left-out estimates are NaN); None if
    fewer than two remain.
    """
    residuals, features = np.asarray(residuals, np.float64), np.asarray(features, np.float64)
    with np.errstate(all="ignore"):
        lengths, unit = unit_rows(residuals)
        finite = np.isfinite(features).all(1) & np.isfinite(unit).all(1) & np.isfinite(inner) & np.isfinite(sq_norm)
        known = finite & (lengths > 0) & (sq_norm > 0)
    if np.count_nonzero(known) < 2:
        return None
    lengths, unit, features = lengths[known], unit[known], features[known]
    _, directions = unit_rows(features)

    numbers = described(lengths, unit, features)
    centre, spread = numbers.mean(0), numbers.std(0)
    # What never varies says nothing.
    factors = np.where(spread > 1e-9 * (1 + np.abs(centre)), 1 / (spread * DESCRIPTIONS**0.5 + TINY), 0.0)
    standard = (numbers - centre) * factors
    targets = np.log(sq_norm[known]) - 2 * np.log(lengths)
    shift = float(targets.mean())
    kernel = standard @ standard.T + _forms(unit, directions, unit, directions)
    dual, errors = _kernel_ridge(kernel, targets - shift, lengths)

    scale = float(np.sqrt(np.mean(features**2) * features.shape[1])) or 1.0
    rows = _extended(features, scale)
    inner_targets = inner[known] / lengths
    inner_dual, inner_errors = _kernel_ridge((unit @ unit.T) * (rows @ rows.T), inner_targets, lengths)

    weights = (unit * inner_dual[:, None]).T @ rows
    proxy = Proxy(
        shift=shift,
        centre=centre,
        slopes=(standard.T @ dual) * factors,
        units=unit,
        directions=directions,
        dual=dual,
        inner_weights=weights,
        scale=scale,
    )
    left_out = np.full((2, len(known)), np.nan)
    with np.errstate(over="ignore"):
        left_out[:, known] = np.exp(targets - errors) * lengths**2, (inner_targets - inner_errors) * lengths
    return Fit(proxy, *left_out)


def unit_rows(rows: Floats) -> tuple[Floats, Floats]:
    """Lengths (n,) and rows of length 1 (or 0); numpy's twin of ``gradients.cross_entropy``'s.

    Scaled first, since the squares of a confident sample's q underflow.
    """
    largest = np.abs(rows).max(axis=1, initial=0.0)
    scaled = rows / np.maximum(largest, TINY)[:, None]
    lengths = np.linalg.norm(scaled, axis=1)
    return lengths * largest, scaled / np.maximum(lengths, TINY)[:, None]


def described(lengths: Floats, unit: Floats, features: Floats) -> Floats:
    """Numbers on which log(‖g‖² / ‖q‖²) may depend: (n, 4)."""
    # The pseudo-label's part of q: 1/√2 where all doubt is with one other class, more where it is with many.
    own = np.abs(unit).max(axis=1, initial=0.0)
    size = np.log1p(np.sum(features**2, axis=1))
    return np.stack([size, np.log(np.maximum(lengths, TINY)), lengths, own], axis=1)


def _forms(unit: Floats, directions: Floats, other_unit: Floats, other_directions: Floats) -> Floats:
    """(q̂·q̂')² (1 + ĥ·ĥ'): (n, c)."""
    found: Floats = (unit @ other_unit.T) ** 2 * (1 + directions @ other_directions.T)
    return found


def _extended(features: Floats, scale: float) -> Floats:
    """(h / scale, 1): (n, d + 1)."""
    return np.concatenate([features / scale, np.ones((len(features), 1))], axis=1)


def _kernel_ridge(kernel: Floats, targets: Floats, importance: Floats) -> tuple[Floats, Floats]:
    """Dual weights and errors of left-out predictions, for the penalty with the least weighted left-out error."""
    values, vectors = np.linalg.eigh(kernel)
    rotated = vectors.T @ targets
    scale = max(float(np.trace(kernel)) / len(kernel), TINY)
    found: list[tuple[float, Floats, Floats]] = []
    for penalty in PENALTIES * scale:
        inverse = 1 / (np.maximum(values, 0.0) + penalty)
        dual = vectors @ (inverse * rotated)
        errors = dual / ((vectors**2) @ inverse)
        found.append((float(np.sum((errors * importance) ** 2)), dual, errors))
    _, dual, errors = min(found, key=lambda candidate: candidate[0])
    return dual, errors

"""Which samples get exact scores when only the most promising ones are to: decided once per score table, then kept.

A sample is promising if its estimated Δ (see ``proxy``) reaches a threshold. A control sample, drawn by a keyed hash
of the content, is scored exactly wherever it falls, so that what was missed can be estimated. What is decided about a
sample depends on that sample alone: not on batches, shards, order, or what was added to the pool since.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalcli.data.identity import tie_keys
from dalcli.scores.arrayfile import read_arrays, write_arrays
from dalcli.scores.columns import Array, Digests, Floats, Screened, as_keys, find_keys
from dalcli.scores.delta import delta
from dalcli.scores.proxy import Proxy, fit

CALIBRATION_MOST = 1024
CALIBRATION_LEAST = 32
CALIBRATION_SHARE = 0.05
SMALLEST_POOL = 4 * CALIBRATION_LEAST
CONTROL_SHARE = 0.02


@dataclass(frozen=True, eq=False)
class Prescreen:
    """One decision.

    ``fraction`` of the pool was to pass, for Δ with ``gamma``; a sample with an estimate below ``threshold`` does not.
    Without a ``proxy`` everything passes. ``digests`` (c, 16) uint8 are the calibration's samples, sorted, and
    ``known`` their exact columns (``grad_sq_norm``, ``grad_inner``, perhaps ``sketch``).
    """

    fraction: float
    gamma: float
    threshold: float
    proxy: Proxy | None
    control_seed: int
    control_share: float
    digests: Digests
    known: Mapping[str, Array]

    def codes(self, digests: Digests, residuals: Floats, features: Floats) -> NDArray[np.uint8]:
        """:class:`Screened` codes (n,) for samples (n, 16) with q = p − e_ŷ (n, K) and features (n, d)."""
        codes = np.full(len(digests), Screened.PROMISING, np.uint8)
        if self.proxy is not None:
            values = delta(*self.proxy.estimates(residuals, features), self.gamma)
            below = values < self.threshold  # an estimate that is not a number is no reason to skip a sample
            drawn = is_control(self.control_seed, self.control_share, digests)
            codes[below] = np.where(drawn[below], Screened.CONTROL, Screened.AWAY)
        codes[self.places(digests) >= 0] = Screened.CALIBRATION
        return codes

    def places(self, digests: Digests) -> NDArray[np.int64]:
        """Row of each sample in ``known``; −1 for samples that the calibration did not score."""
        return find_keys(as_keys(digests), as_keys(self.digests))


def calibration_size(pool: int) -> int:
    """How many samples of a pool are scored exactly to learn the proxy; 0: too small a pool for that to pay."""
    if pool < SMALLEST_POOL:
        return 0
    return min(CALIBRATION_MOST, max(CALIBRATION_LEAST, int(CALIBRATION_SHARE * pool)))


def drawn(seed: int, digests: Digests, size: int) -> NDArray[np.intp]:
    """Rows of ``size`` of the samples (n, 16), drawn by a keyed hash of their content, in ascending order."""
    return np.sort(np.argsort(tie_keys(seed, digests), kind="stable")[:size])


def is_control(seed: int, share: float, digests: Digests) -> NDArray[np.bool_]:
    """(n,) whether each sample belongs to the control sample: ``share`` of all, whatever else is in the pool."""
    return (tie_keys(seed, digests) >> np.uint64(11)) * 2.0**-53 < share


def decide(
    fraction: float,
    gamma: float,
    control_seed: int,
    digests: Digests,
    residuals: Floats,
    features: Floats,
    known: Mapping[str, Array],
) -> Prescreen:
    """Learn the proxy from samples (c, 16) whose columns are ``known``, and set the threshold for ``fraction``.

    The threshold is a quantile of left-out estimates: those of samples that the proxy was not learnt from.
    """
    order = np.argsort(as_keys(digests))
    kept = {name: array[order] for name, array in known.items()}
    found = fit(residuals, features, known["grad_sq_norm"], known["grad_inner"]) if len(digests) else None
    threshold, proxy = -math.inf, None
    if found is not None:
        threshold = _quantile(delta(found.sq_norm, found.inner, gamma), fraction)
        proxy = found.proxy
    return Prescreen(
        fraction=fraction,
        gamma=gamma,
        threshold=threshold,
        proxy=proxy,
        control_seed=control_seed,
        control_share=CONTROL_SHARE,
        digests=digests[order],
        known=kept,
    )


def _quantile(values: Floats, fraction: float) -> float:
    """A number that ``fraction`` of ``values`` reach, half-way to the next one, so that rounding changes nothing."""
    ordered = np.sort(values[np.isfinite(values)])[::-1]
    count = math.floor(fraction * len(ordered))
    if not len(ordered) or count >= len(ordered):
        return -math.inf
    if count == 0:
        return float(ordered[0])
    return float(ordered[count] + (ordered[count - 1] - ordered[count]) / 2)


def save(path: Path, prescreen: Prescreen, settings: str) -> None:
    """Keep a decision, atomically; ``settings`` is what must be the same for it to hold."""
    p = prescreen
    arrays: dict[str, Array] = {"digests": p.digests, **{f"known.{name}": array for name, array in p.known.items()}}
    metadata = {
        "settings": settings,
        "fraction": p.fraction,
        "gamma": p.gamma,
        "threshold": p.threshold,
        "control_seed": p.control_seed,
        "control_share": p.control_share,
    }
    if p.proxy is not None:
        arrays |= {f"proxy.{name}": np.asarray(value) for name, value in vars(p.proxy).items()}
    write_arrays(path, arrays, metadata)


def load(path: Path, settings: str) -> Prescreen | None:
    """The kept decision, if it is whole and was made with the same ``settings``."""
    found = read_arrays(path)
    if found is None or found[1].get("settings") != settings:
        return None
    arrays, metadata = found
    try:
        return Prescreen(
            fraction=float(metadata["fraction"]),
            gamma=float(metadata["gamma"]),
            threshold=float(metadata["threshold"]),
            proxy=_proxy(_under("proxy.", arrays)),
            control_seed=int(metadata["control_seed"]),
            control_share=float(metadata["control_share"]),
            digests=arrays["digests"],
            known=_under("known.", arrays),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _under(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _proxy(parts: Mapping[str, Array]) -> Proxy | None:
    if not parts:
        return None
    values: dict[str, Any] = {name: float(array) if array.ndim == 0 else array for name, array in parts.items()}
    return Proxy(**values)

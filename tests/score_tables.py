"""When two score tables are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from tests.small_pools import SmallPool


def table(pool: SmallPool) -> Path:
    return pool.root / ".dalcli" / "scores" / "m-0001"


def assert_same_table(found: SmallPool, expected: SmallPool) -> None:
    """Everything is the same but what depends on G_S, which may differ by the order of its sum in float64."""
    assert {path.name for path in table(found).iterdir()} == {path.name for path in table(expected).iterdir()}
    gradient, reference = (load_file(table(pool) / "labeled_gradient.safetensors") for pool in (found, expected))
    for name, value in reference.items():
        np.testing.assert_allclose(gradient[name], value, rtol=2e-7, atol=1e-12)
    length = sum(float(np.square(value, dtype=np.float64).sum()) for value in reference.values()) ** 0.5
    shards = found.shards()
    for file, columns in expected.shards().items():
        assert shards[file].keys() == columns.keys()
        for name, value in columns.items():
            if name == "grad_inner":
                assert (np.abs(shards[file][name] - value) <= 1e-6 * length * np.sqrt(columns["grad_sq_norm"])).all()
            else:
                assert shards[file][name].tobytes() == value.tobytes(), (file, name)

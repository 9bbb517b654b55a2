"""benchmarks/glyphs.py: the same images for the same seed, and classes that any file system tells apart."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FILE = Path(__file__).parent.parent.parent / "benchmarks" / "glyphs.py"


@pytest.fixture(scope="module")
def glyphs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("glyphs", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["glyphs"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_class_names_differ_without_regard_to_case(glyphs: ModuleType) -> None:
    names = [glyphs.class_name(symbol).lower() for symbol in glyphs.SETS["all"] + "/?"]
    assert len(set(names)) == 64


def test_counts_fall_exponentially(glyphs: ModuleType) -> None:
    assert glyphs.class_counts(3, 100, 4) == [100, 50, 25]
    assert glyphs.class_counts(2, 10, 1) == [10, 10]
    assert glyphs.class_counts(2, 3, 50) == [3, 1]


def test_images_are_reproducible_and_redundant_ones_differ_by_noise_alone(glyphs: ModuleType) -> None:
    faces = glyphs.usable_faces(glyphs.default_folders(), "A", 3)
    if not faces:
        pytest.skip("no fonts on this machine")
    options = argparse.Namespace(
        redundancy=0.5, rotation=12.0, shear=0.1, shift=0.1, noise=0.0, size=16, seed=1, folder=None
    )
    clean = list(glyphs.images("A", 8, faces, options))
    assert np.array_equal(clean, list(glyphs.images("A", 8, faces, options)))
    assert len({image.tobytes() for image in clean[:4]}) == 4
    assert {image.tobytes() for image in clean[4:]} <= {image.tobytes() for image in clean[:4]}
    options.noise = 0.1
    assert len({image.tobytes() for image in glyphs.images("A", 8, faces, options)}) == 8

"""Nights with everything that goes wrong end as undisturbed ones do: a short run of ``benchmarks/sixty_nights.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_nine_nights(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    sixty_nights = __import__("sixty_nights")
    try:
        assert sixty_nights.main(["--nights", "9", "--seed", "5", "--pool", "150"]) == 0
    finally:
        del sys.modules["sixty_nights"]
    out = capsys.readouterr().out
    counts = {line[:32].strip(): line[32:].strip() for line in out.splitlines()}
    assert counts["the same state after every night"] == counts["every measurement logged once"] == "yes"
    assert min(int(counts[what]) for what in ("kills", "run twice", "wrong files", "nights without power")) > 0
    assert int(counts["model versions"]) > 3

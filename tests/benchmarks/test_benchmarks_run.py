"""Every benchmark runs on the smallest settings that mean anything, and prints rows of finite positive numbers."""

from __future__ import annotations

import importlib
import math
import re
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.×])")


def printed(capsys: pytest.CaptureFixture[str], name: str, *arguments: str) -> str:
    """What a benchmark prints when it is run with ``arguments``."""
    assert not importlib.import_module(name).main(arguments)
    return capsys.readouterr().out


def numbers(text: str, first: str) -> list[float]:
    """The numbers behind the only line that starts with ``first``; none of its cells is missing."""
    (line,) = (line for line in text.splitlines() if line.split()[:1] == [first])
    cells = line.split()[1:]
    assert not {"-", "nan", "inf"} & set(cells), line
    found = [float(cell) for cell in NUMBER.findall(" ".join(cells))]
    assert all(math.isfinite(value) for value in found)
    return found


@pytest.fixture
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save the seconds that fresh processes need to import torch; one test keeps them."""
    for name in ("image_pools", "contestants"):
        monkeypatch.setattr(importlib.import_module(name), "in_fresh_process", lambda work, *given: work(*given))


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_it_imports_and_says_how_to_run_it(path):
    found = importlib.import_module(path.stem)
    assert found.__doc__
    assert f"python benchmarks/{path.name}" in found.__doc__ or "Not a benchmark itself" in found.__doc__


def test_engine_times_every_contestant_and_weighs_two(capsys):
    tiny = ["--models", "cnn", "--batches", "8", "--size", "16", "--repeats", "1", "--threads", "1"]
    out = printed(capsys, "engine", *tiny, "--peers", "vmap", "naive", "--sketch", "8", "--memory-repeats", "1")
    found = numbers(out, "cnn")
    assert len(found) == 12  # batch, ms, six ratios to a step, one to a channels-last one, two MiB and their ratio
    assert all(value > 0 for value in found)


def test_engine_says_what_it_leaves_out(capsys, monkeypatch):
    peers = importlib.import_module("peers")

    def absent(*_):
        raise peers.UnavailableError("Opacus is not installed (for this test)")

    monkeypatch.setitem(peers.PEERS, "opacus", absent)
    tiny = ["--models", "cnn", "--batches", "2", "--size", "8", "--repeats", "1", "--threads", "1", "--no-memory"]
    out = printed(capsys, "engine", *tiny, "--peers", "opacus")
    assert "skipped: cnn, opacus: Opacus is not installed (for this test)" in out.splitlines()


def test_a_peer_with_other_gradients_is_no_contestant(monkeypatch):
    contestants = importlib.import_module("contestants")

    def doubling(model, direction):
        method = importlib.import_module("peers").naive(model, direction)
        return lambda inputs, labels: tuple(2 * value for value in method(inputs, labels))

    monkeypatch.setitem(contestants.PEERS, "naive", doubling)
    works, missing = contestants.contestants(contestants.Setting("cnn", 2, 8, "cpu"), ["train", "naive"])
    assert list(works) == ["train"]
    assert missing == ["cnn, naive: returns other gradients"]


def test_engine_profiles_layers_and_routes(capsys):
    tiny = ["--batches", "2", "--size", "8", "--repeats", "1", "--threads", "1"]
    out = printed(capsys, "engine", *tiny, "--layers", "cnn")
    assert len(re.findall(r"Conv2d", out)) == 3
    out = printed(capsys, "engine", *tiny, "--routes", "cnn")
    assert len(re.findall(r"3×3 by 1×1: .*\*", out)) == 3  # one route is the cost model's choice


@pytest.mark.usefixtures("_in_this_process")
def test_score_pass_compares_the_command_with_the_engine(capsys):
    out = printed(capsys, "score_pass", "--images", "12", "--size", "8", "--repeats", "1", "--threads", "1")
    found = numbers(out, "12")
    assert len(found) >= 11
    assert all(value > 0 for value in found[:3])


@pytest.mark.usefixtures("_in_this_process")
def test_scaling_over_pools_and_classes(capsys):
    pools = ["--images", "8", "16", "--pool-repeats", "1"]
    classes = ["--classes", "3", "5", "--models", "cnn", "--batch", "4", "--repeats", "1", "--memory-repeats", "1"]
    out = printed(capsys, "scaling", *pools, *classes, "--threads", "1")
    assert numbers(out, "8")[2] == 1.0
    assert numbers(out, "16")[0] > 0
    assert len(re.findall(r"^cnn ", out, re.MULTILINE)) == 2


def test_selection_times_every_strategy(capsys):
    registry = importlib.import_module("dalcli.strategies.registry")
    sizes = ["--rows", "64", "--budget", "4"]
    out = printed(capsys, "selection", *sizes)
    told = [line.split()[0] for line in out.splitlines() if line]
    skipped = re.findall(r"^skipped: (\S+) reads", out, re.MULTILINE)
    assert {*told, *skipped} >= set(registry.STRATEGIES)


def test_large_selection_weighs_strategies_in_processes_of_their_own(capsys):
    sizes = ["--rows", "300", "--classes", "4", "--width", "6", "--sketch", "4", "--labeled", "20", "--budget", "5"]
    out = printed(capsys, "large_selection", *sizes, "--strategies", "badge,lcmd")
    for name in ("badge", "lcmd"):
        seconds, busy, megabytes = numbers(out, name)
        assert seconds >= 0
        assert busy >= 0
        assert megabytes > 20


def test_herding_sample_compares_with_the_exact_choice(capsys):
    sizes = ["--rows", "300", "--labeled", "20", "--budget", "10", "--representatives", "40,280", "--candidates", "80"]
    out = printed(capsys, "herding_sample", *sizes, "--seeds", "2")
    for name in ("sure", "half-sure", "unsure"):
        uncertainty, margin, random, few, all_of_them = numbers(out, name)
        assert 0 < uncertainty < 1
        assert 0 < random < 100
        assert margin <= 100.1
        assert few <= all_of_them + 0.1
        assert all_of_them == pytest.approx(100, abs=0.1)


def test_exactness_measures_a_family(capsys):
    out = printed(capsys, "exactness", "resnet18", "--threads", "1")
    assert all(error < 1e-12 for error in numbers(out, "resnet18")[1:3])


def test_head_beside_its_peers(capsys):
    out = printed(capsys, "head", "--sizes", "40,6,3", "--repeats", "1", "--threads", "1")
    found = numbers(out, "40")
    assert len(found) == 10  # d, K, two times, steps, MiB, a ratio and a gap for each of two peers
    assert all(value > 0 for value in (*found[:5], found[6], found[8]))
    assert max(abs(found[7]), abs(found[9])) < 1e-6


@pytest.mark.parametrize(
    "arguments",
    [
        ["pass", "--images", "3", "--model", "mobilenet_v3_small", "--repeats", "1"],
        ["loop", "--images", "24", "--model", "mobilenet_v3_small"],
        ["large", "--rows", "2100", "--classes", "3"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_frozen_networks_are_measured(capsys, arguments):
    lines = printed(capsys, "frozen", *arguments, "--threads", "1").splitlines()
    values = [float(line.split()[0]) for line in lines[2:]]
    assert len(values) == {"pass": 5, "loop": 4, "large": 3}[arguments[0]]
    assert all(value > 0 for value in values)


def test_label_page_loses_no_answer(capsys):
    out = printed(capsys, "label_page", "--clients", "3", "--images", "9", "--think", "0")
    think, *times, lost, twice = (float(cell) for cell in out.splitlines()[-1].split())
    assert (think, lost, twice) == (0, 0, 0)
    assert all(value > 0 for value in times)


def test_label_formats_reads_what_it_writes(capsys):
    out = printed(capsys, "label_formats", "--rows", "6", "--formats", "label-studio", "imagefolder")
    assert len(numbers(out, "label-studio")) == 8  # MB, seconds, processor, again, MiB, and three of printing
    assert len(numbers(out, "imagefolder")) == 5

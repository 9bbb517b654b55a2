"""``dalcli diagnose`` on a tiny workspace: every number against the oracle, and what it must leave alone."""

from __future__ import annotations

import csv
import io
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from dalcli_runner import message, ok, problems, run, write_labels
from diagnosed_pools import MODEL, Truth
from PIL import Image
from workspaces import add_model, dump, ids

from dalcli.diagnosis import images, kernel, ratio
from dalcli.diagnosis.images import DecodedImages
from dalcli.scores.table import ShardFile, write_shard
from dalcli.state.lock import compute_lock

CLASSES = ("red", "green", "blue")
SETTINGS = """
seed: 3
threads: 1
data: {image_size: 8, workers: 1}
model: {name: "tiny_net:tiny"}
training: {max_epochs: 40, batch_size: 4, learning_rate: 0.01, accuracy_threshold: 0.9, hold_epochs: 1}
scoring: {batch_size: 8}
evaluation: {reserve: 0.3}
"""
FEW = ("--samples", "16", "--random-batches", "12")
ALL = ("--samples", "64", "--random-batches", "12")
RIDGE = 1e-3


def draw(path: Path, label: str, seed: int) -> None:
    """A noisy image whose brightest channel is its class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng([seed, CLASSES.index(label)])
    pixels = random.integers(0, 180, (8, 8, 3))
    pixels[..., CLASSES.index(label)] += random.integers(5, 60)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def answers(rows: list[dict[str, str]]) -> dict[str, str]:
    return {row["sample_id"]: Path(row["path"]).name.split("-")[0] for row in rows}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def grow(root: Path, budget: int, *options: str) -> None:
    """Ask, answer truly, ingest."""
    rows = ok(root, "query", "--budget", str(budget), "--new", *options).rows
    ok(root, "ingest-labels", write_labels(root / "labels.csv", rows, **answers(rows)))


@pytest.fixture(scope="module")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("diagnosed") / "w"
    for index in range(60):
        draw(root / "photos" / f"{CLASSES[index % 3]}-{index:02d}.png", CLASSES[index % 3], index)
    (root / "dalcli.yaml").write_text(SETTINGS)
    (root / "tiny_net.py").write_text(MODEL)
    ok(root, "init", "photos", "--classes", ",".join(CLASSES))
    grow(root, 12)
    grow(root, 10, "--purpose", "evaluation")
    ok(root, "train")
    return root


@pytest.fixture(scope="module")
def _scored(_trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scored") / "w"
    shutil.copytree(_trained, root)
    ok(root, "score", "--full")
    return root


@pytest.fixture
def trained(_trained: Path, tmp_path: Path) -> Path:
    """m-0001 has been trained on 12 labels; 10 evaluation images are labeled."""
    return Path(shutil.copytree(_trained, tmp_path / "trained"))


@pytest.fixture
def scored(_scored: Path, tmp_path: Path) -> Path:
    """m-0001 has scored the pool."""
    return Path(shutil.copytree(_scored, tmp_path / "scored"))


@pytest.fixture(scope="module")
def truth(_scored: Path) -> Truth:
    return Truth(_scored)


def diagnosis(root: Path, *options: str) -> dict[str, Any]:
    document: dict[str, Any] = ok(root, "diagnose", "--json", *options).json
    return document


def test_the_issued_batch_and_its_first_members_have_their_exact_ratios(scored: Path, truth: Truth) -> None:
    rows = ok(scored, "query", "--budget", "7").rows
    batch = [row["sample_id"] for row in rows]
    found = diagnosis(scored, *FEW)
    assert found["batch"]["source"] == "issued"
    assert found["batch"]["batch_id"] == rows[0]["batch_id"]
    assert found["batch"]["strategy"] == rows[0]["strategy"]
    assert found["batch"]["ratio"] == pytest.approx(truth.ratio(batch), rel=1e-4)
    assert found["batch"]["ratio"] == pytest.approx(found["batch"]["numerator"] / found["batch"]["denominator"])
    assert [(p["size"], p["ratio"]) for p in found["batch"]["prefixes"]] == [
        (size, pytest.approx(truth.ratio(batch[:size]), rel=1e-4)) for size in (1, 2, 4, 7)
    ]
    gradients = truth.gradients(batch)
    pairs = [(gradients[i] @ gradients[j], gradients[i], gradients[j]) for i, j in itertools.combinations(range(7), 2)]
    lengths = sum(np.linalg.norm(a) * np.linalg.norm(b) for _, a, b in pairs)
    assert found["batch"]["cosine"] == pytest.approx(sum(p for p, _, _ in pairs) / lengths, rel=1e-4)


def test_the_next_batch_is_the_one_that_query_would_choose(scored: Path, truth: Truth) -> None:
    found = diagnosis(scored, "--budget", "5", *FEW)
    assert (found["batch"]["source"], found["batch"]["batch_id"]) == ("next", None)
    rows = ok(scored, "query", "--budget", "5").rows
    assert found["batch"]["ratio"] == pytest.approx(truth.ratio([row["sample_id"] for row in rows]), rel=1e-4)
    assert found["batch"]["strategy"] == rows[0]["strategy"]


def test_training_and_random_batches(scored: Path, truth: Truth) -> None:
    found = diagnosis(scored, "--budget", "5", *ALL)
    g_s = truth.of_labeled @ truth.of_labeled
    training = found["training"]
    assert training["dynamics"] == pytest.approx(g_s, rel=1e-4)
    assert training["mean_gradient"] == pytest.approx(np.sqrt(g_s) / 12, rel=1e-4)
    pool = truth.gradients(truth.pool)
    squares = np.sum(pool**2, axis=1)
    assert training["pool_gradient"] == pytest.approx(np.sqrt(squares.mean()), rel=1e-4)
    assert training["pool_samples"] == found["random"]["population"] == found["random"]["pool"] == len(pool)
    alone = (squares + 2 * pool @ truth.of_labeled).mean()
    products = pool @ pool.T
    cross = (products.sum() - np.trace(products)) / (len(pool) * (len(pool) - 1))
    assert found["random"]["exact_ratio_of_means"] == pytest.approx(alone / (alone + 4 * cross), rel=1e-3)
    assert found["random"]["sketched"] is False
    summary = found["random"]["summary"]
    assert summary["batches"] == 12
    assert summary["median"]["low"] <= summary["median"]["value"] <= summary["median"]["high"]


def test_random_batches_have_the_ratios_of_their_members(scored: Path, truth: Truth) -> None:
    """Batches of the whole pool are all the same one."""
    size = len(truth.pool)
    found = diagnosis(scored, "--budget", str(size), *ALL)["random"]
    assert (found["size"], found["sketched"]) == (size, False)
    for value in (found["summary"]["median"]["value"], found["summary"]["ratio_of_means"]["value"]):
        assert value == pytest.approx(truth.ratio(truth.pool), rel=1e-3)
    assert found["exact_ratio_of_means"] == pytest.approx(truth.ratio(truth.pool), rel=1e-3)


def test_sketched_batches_come_close_and_say_how_close(scored: Path) -> None:
    exact = diagnosis(scored, "--budget", "9", *FEW)["random"]
    with mock.patch.object(ratio, "EXACT_PASSES", 1):
        found = diagnosis(scored, "--budget", "9", *FEW)["random"]
    assert found["sketched"] is True
    assert (found["sketch_dimension"], found["checked"]) == (ratio.SKETCH_DIMENSION, 4)
    assert 0 < found["sketch_error"] < 0.05
    for name in ("median", "ratio_of_means"):
        assert found["summary"][name]["value"] == pytest.approx(exact["summary"][name]["value"], rel=0.1)
    assert found["exact_ratio_of_means"] == exact["exact_ratio_of_means"]


def test_kernel_quantities(scored: Path, truth: Truth) -> None:
    found = diagnosis(scored, "--budget", "5", *ALL)["theory"]
    kernel, labeled = found["kernel"], found["labeled"]
    assert (kernel["sketched"], kernel["ridge"], kernel["classes"]) == (False, RIDGE, 3)
    assert kernel["constant"] is False
    names = list(truth.labels)
    theta = truth.kernel(names, kernel["scale"], RIDGE)
    y = np.eye(3)[list(truth.labels.values())]
    assert labeled["samples"] == labeled["labeled"] == 12
    assert labeled["alignment"] == pytest.approx(np.trace(y.T @ theta @ y), rel=1e-4)
    assert labeled["bound"] == pytest.approx(np.sqrt(2 * np.trace(y.T @ np.linalg.inv(theta) @ y) / 12), rel=1e-3)
    for name, f in (("logits", truth.logits(names)), ("probabilities", truth.probabilities(names))):
        assert labeled[f"g_mse_{name}"] == pytest.approx(np.trace((f - y).T @ theta @ (f - y)), rel=1e-4)
    t = labeled["theorem_2"]
    assert t["lower"] <= t["middle"] <= t["upper"]
    for step in labeled["theorem_1"]["steps"]:
        assert step["lower"] <= step["squared_error"] <= step["upper"]
    everything = names + truth.pool
    whole = truth.kernel(everything, kernel["scale"], RIDGE)
    weights = np.concatenate([np.full(12, 1 / 12), np.zeros(len(truth.pool))]) - 1 / len(everything)
    assert found["from_pool"]["mmd"] == pytest.approx(np.sqrt(weights @ whole @ weights), rel=1e-3)
    assert found["since_start"] is None  # S is still S0
    assert kernel["samples"] == len(everything) + 10
    assert kernel["scale"] > 0


def test_a_second_round_is_compared_with_the_first(scored: Path) -> None:
    first = diagnosis(scored, "--budget", "5", *ALL)
    grow(scored, 5)
    again = diagnosis(scored, "--budget", "5", *ALL)
    assert (again["newer_labels"], again["batch"]["source"]) == (5, "issued")  # nothing but the batch is news
    assert again["theory"] == first["theory"]
    assert again["batch"]["ratio"] == first["batch"]["ratio"]
    ok(scored, "train")
    ok(scored, "score", "--full")
    truth = Truth(scored, "m-0002")
    found = diagnosis(scored, "--budget", "4", *ALL)["theory"]
    names = list(truth.labels)
    theta = truth.kernel(names, found["kernel"]["scale"], RIDGE)
    weights = np.array([(name in truth.initial) / 12 - 1 / 17 for name in names])
    assert found["since_start"]["mmd"] == pytest.approx(np.sqrt(weights @ theta @ weights), rel=1e-3)
    assert (found["since_start"]["first"], found["since_start"]["second"]) == (12, 5)
    old = diagnosis(scored, "--model", "m-0001", *ALL)
    assert old["version"] == "m-0001"
    assert old["newer_labels"] == 0
    assert old["batch"] == again["batch"]
    assert old["theory"] == first["theory"]


def test_a_sketched_kernel_comes_close_and_says_how_close(scored: Path) -> None:
    exact = diagnosis(scored, "--budget", "5", "--sketch", "0", *FEW)["theory"]
    found = diagnosis(scored, "--budget", "5", "--sketch", "4096", *FEW)["theory"]
    kernel = found["kernel"]
    assert (kernel["sketched"], kernel["dimension"], kernel["groups"], kernel["checked"]) == (True, 4096, 3, 12)
    assert 0 < kernel["entry_error"] < 0.02
    assert found["labeled"]["alignment"] / exact["labeled"]["alignment"] - 1 == pytest.approx(
        0, abs=2 * kernel["alignment_error"] + 1e-6
    )
    assert found["labeled"]["bound"] == pytest.approx(exact["labeled"]["bound"], rel=0.05)
    assert found["from_pool"]["mmd"] == pytest.approx(exact["from_pool"]["mmd"], rel=0.1)
    assert kernel["scale"] == pytest.approx(exact["kernel"]["scale"], rel=1e-5)


def test_what_is_not_affordable_is_sketched(scored: Path) -> None:
    with mock.patch.object(kernel, "EXACT_GRADIENTS", 100):
        assert diagnosis(scored, "--budget", "5", *FEW)["theory"]["kernel"]["sketched"] is True


def test_true_labels_come_from_the_evaluation_set_or_a_file_or_the_labeled_set(scored: Path) -> None:
    found = diagnosis(scored, "--budget", "5", *ALL)["theory"]["agreement"]
    assert (found["source"], found["base"], found["candidates"], found["size"]) == ("evaluation set", 12, 10, 5)
    assert found["logits"]["low"] <= found["logits"]["tau"] <= found["logits"]["high"]
    pool = list(csv.DictReader(io.StringIO(ok(scored, "pool", "list").out.decode())))
    training = [row for row in pool if row["purpose"] == "training"]
    file = scored / "truth.csv"
    file.write_text("sample_id,label\n" + "".join(f"{k},{v}\n" for k, v in answers(training).items()))
    before = dump(scored)
    found = diagnosis(scored, "--budget", "5", "--labels", str(file), *ALL)["theory"]
    assert dump(scored) == before
    unlabeled = len(training) - 12
    assert (found["agreement"]["source"], found["agreement"]["candidates"]) == ("labels file", unlabeled)
    assert found["kernel"]["samples"] == len(training)
    for row in training:
        if row["state"] == "labeled":
            file.write_text(f"sample_id,label\n{row['sample_id']},{row['label']}\n")
    assert "outside the labeled set" in ok(scored, "diagnose", "--budget", "5", "--labels", file, *FEW).err


def test_no_true_labels_outside_s(trained: Path) -> None:
    """Then S is cut in two halves, if they are large enough."""
    root = trained
    shutil.rmtree(root / ".dalcli")
    ok(root, "init", "photos", "--classes", ",".join(CLASSES))
    grow(root, 12)
    ok(root, "train")
    ok(root, "score", "--full")
    result = diagnosis(root, "--budget", "3", *FEW)
    assert result["theory"]["agreement"] is None
    assert result["findings"][3]["answer"] == "unknown"
    grow(root, 8)
    ok(root, "train")
    ok(root, "score", "--full")
    found = diagnosis(root, "--budget", "3", *ALL)
    agreement = found["theory"]["agreement"]
    assert (agreement["source"], agreement["base"], agreement["candidates"]) == ("labeled set", 10, 10)
    assert "which the model was trained on" in found["findings"][3]["because"]


def everything_below(root: Path) -> dict[str, tuple[int, int]]:
    paths = [path for path in root.rglob("*") if path.is_file() and not path.name.startswith(("state.db", "compute."))]
    return {str(path.relative_to(root)): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def test_nothing_is_written_no_lock_is_held_and_it_says_the_same_again(scored: Path) -> None:
    ok(scored, "diagnose", "--budget", "5", *FEW)  # compiles tiny_net.py
    before, files = dump(scored), everything_below(scored)
    with compute_lock(scored / ".dalcli" / "compute.lock", "train"):
        first = ok(scored, "diagnose", "--budget", "5", *FEW)
    assert ok(scored, "diagnose", "--budget", "5", *FEW).out == first.out
    assert dump(scored) == before
    assert everything_below(scored) == files
    other = ok(scored, "diagnose", "--budget", "5", "--seed", "4", *FEW).out
    assert other != first.out


def test_a_version_that_is_finished_meanwhile_changes_nothing(scored: Path) -> None:
    expected = ok(scored, "diagnose", "--budget", "5", "--json", *FEW).out
    real = DecodedImages.read

    def late(*arguments: Any) -> Any:
        add_model(scored)
        return real(*arguments)

    with mock.patch.object(DecodedImages, "read", late):
        assert ok(scored, "diagnose", "--budget", "5", "--json", *FEW).out == expected


def test_scores_only_save_time(scored: Path) -> None:
    ok(scored, "query", "--budget", "6")
    with_scores = diagnosis(scored, *FEW)
    shutil.rmtree(scored / ".dalcli" / "scores")
    without = diagnosis(scored, *FEW)
    assert without["batch"]["ratio"] == pytest.approx(with_scores["batch"]["ratio"], rel=1e-5)
    assert without["training"]["dynamics"] == pytest.approx(with_scores["training"]["dynamics"], rel=1e-5)
    summaries = [found["random"]["summary"]["median"]["value"] for found in (with_scores, without)]
    assert summaries[0] == pytest.approx(summaries[1], rel=1e-4)


def test_samples_without_exact_scores_are_scored_here(scored: Path) -> None:
    """A prescreened table holds NaN for most of the pool."""
    ok(scored, "query", "--budget", "6")
    expected = diagnosis(scored, *FEW)
    (path,) = (scored / ".dalcli" / "scores" / "m-0001").glob("shard-*")
    shard = ShardFile(path)
    columns = shard.read(list(shard.header.layout))
    columns["grad_sq_norm"][::2] = columns["grad_inner"][::2] = np.nan
    write_shard(path, columns, shard.header.metadata)
    found = diagnosis(scored, *FEW)
    assert found["batch"]["ratio"] == pytest.approx(expected["batch"]["ratio"], rel=1e-5)
    assert found["training"]["pool_gradient"] == pytest.approx(expected["training"]["pool_gradient"], rel=1e-5)


def test_unreadable_images_are_left_out_and_stay_where_they_are(scored: Path, truth: Truth) -> None:
    batch = [row["sample_id"] for row in ok(scored, "query", "--budget", "6").rows]
    names = {sample: name for name, sample in ids(scored / "photos").items()}
    before = dump(scored)
    (scored / "photos" / names[batch[2]]).unlink()
    found = run(scored, "diagnose", "--json", *FEW)
    assert found.code == 0
    assert "1 of" in found.err
    assert "cannot be read" in found.err
    rest = [sample for sample in batch if sample != batch[2]]
    assert found.json["batch"]["size"] == 5
    assert found.json["batch"]["ratio"] == pytest.approx(truth.ratio(rest), rel=1e-4)
    assert dump(scored) == before


def test_images_that_do_not_fit_memory_are_read_again(scored: Path) -> None:
    expected = diagnosis(scored, "--budget", "5", *FEW)
    with mock.patch.object(images, "KEPT_BYTES", 0):
        assert diagnosis(scored, "--budget", "5", *FEW) == expected


def test_with_nothing_left_the_theory_is_still_told(scored: Path) -> None:
    grow(scored, 60)
    ok(scored, "train")
    ok(scored, "score", "--full")
    found = diagnosis(scored, "--budget", "5", *ALL)
    assert found["batch"] is None
    assert found["random"] is None
    assert found["theory"]["from_pool"] is None
    assert found["theory"]["labeled"]["bound"] > 0
    assert [finding["answer"] for finding in found["findings"]][0::2] == ["unknown", "unknown"]
    assert "Is the batch small enough" in ok(scored, "diagnose", "--budget", "5", *FEW).out.decode()


def test_people_read_numbers_and_answers(scored: Path) -> None:
    text = ok(scored, "diagnose", "--budget", "5", *FEW).out.decode()
    for line in ("R, query's next batch", "12 random batches", "MMD(S, pool)", "Kendall τ", "Eq. 17", "bound B"):
        assert line in text
    assert "Has training converged? " in text
    assert json.loads(ok(scored, "diagnose", "--budget", "5", "--json", *FEW).out)["findings"][1]["question"] in text


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--samples", "15"), 2, "--samples 15 is out of range"),
        (("--random-batches", "9"), 2, "10 to 2000"),
        (("--budget", "0"), 2, "--budget 0"),
        (("--ridge", "0"), 2, "--ridge 0"),
        (("--ridge", "nan"), 2, "--ridge nan"),
        (("--sketch", "-1"), 2, "--sketch -1"),
        (("--seed", "-1"), 2, "--seed -1"),
        (("--model", "m-001"), 2, "m-0001"),
        (("--labels", "nowhere.csv"), 3, "nowhere.csv: no such file"),
    ],
)
def test_options_out_of_range(scored: Path, options: tuple[str, ...], code: int, said: str) -> None:
    outcome = run(scored, "diagnose", *options)
    assert outcome.code == code
    assert said in "\n".join(message(outcome))


def test_bad_rows_of_a_labels_file_are_listed(scored: Path) -> None:
    sample = next(iter(ids(scored / "photos").values()))
    (scored / "bad.csv").write_text(f"sample_id,label\n{sample},rde\ns-nobody,red\n{sample},red\n{sample},blue\n")
    outcome = run(scored, "diagnose", "--labels", "bad.csv")
    assert outcome.code == 3
    found = problems(outcome)
    assert [line.split(":")[0] for line in found] == ["line 2", "line 3", "line 5"]
    assert "did you mean 'red'?" in found[0]
    assert "'blue' contradicts 'red'" in found[2]


@pytest.mark.parametrize("options", [("--budget", "3", "--labels", "bad.csv"), ("--budget", "3", "--model", "m-9")])
def test_nothing_is_computed_before_what_was_asked_is_understood(trained: Path, options: tuple[str, ...]) -> None:
    ok(trained, "score")
    (trained / "bad.csv").write_text("sample_id,label\ns-nobody,red\n")
    before = dump(trained)
    assert run(trained, "diagnose", *options).code in {2, 3}
    assert dump(trained) == before


def test_gradients_of_the_pool_are_computed_once(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dalcli.gradients.engine import GradientEngine

    grow(trained, 2, "--strategy", "random")
    ok(trained, "train")
    score, sizes = GradientEngine.score, []

    def counted(self: GradientEngine, inputs: torch.Tensor, direction: Any, *rest: Any, **named: Any) -> Any:
        sizes.append(len(inputs) if direction is not None else 0)
        return score(self, inputs, direction, *rest, **named)

    monkeypatch.setattr(GradientEngine, "score", counted)
    found = diagnosis(trained, "--model", "m-0001", "--budget", "5", "--samples", "16")
    assert sum(sizes) == found["random"]["pool"] == found["training"]["pool_samples"]


def test_what_must_come_first_is_named(trained: Path, tmp_path: Path) -> None:
    outcome = run(trained, "diagnose", *FEW)
    assert (outcome.code, "dalcli score" in outcome.err) == (5, True)
    shutil.rmtree(trained / ".dalcli")
    (tmp_path / "nowhere").mkdir()
    assert run(tmp_path / "nowhere", "diagnose").code == 5
    ok(trained, "init", "photos", "--classes", ",".join(CLASSES))
    outcome = run(trained, "diagnose")
    assert (outcome.code, "dalcli train" in outcome.err) == (5, True)


def test_a_batch_size_must_be_known(trained: Path) -> None:
    shutil.rmtree(trained / ".dalcli")
    ok(trained, "init", "photos", "--classes", ",".join(CLASSES))
    rows = list(csv.DictReader(io.StringIO(ok(trained, "pool", "list").out.decode())))
    training = [row for row in rows if row["purpose"] == "training"][:9]
    lines = [f"{sample},{label}" for sample, label in answers(training).items()]
    (trained / "l.csv").write_text("\n".join(["sample_id,label", *lines]) + "\n")
    ok(trained, "ingest-labels", "l.csv")
    ok(trained, "train")
    outcome = run(trained, "diagnose")
    assert (outcome.code, "--budget N" in outcome.err) == (2, True)


def test_a_batch_of_one_has_no_cosine(scored: Path) -> None:
    assert diagnosis(scored, "--budget", "1", "--samples", "16")["batch"]["cosine"] is None

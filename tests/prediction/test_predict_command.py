"""``predict``: what the checkpoint itself says, in float64; of the pool and of new images; in pieces as at once."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from dalcli_runner import environment
from PIL import Image
from small_pools import CLASSES, SmallPool, draw, make_pool

from dalcli.feedback import SilentFeedback
from dalcli.prediction import sources
from dalcli.state import evaluations, versions
from dalcli.workspace.loading import load_version
from dalcli.workspace.session import open_session


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def oracle(pool: SmallPool, path: Path, version: str = "m-0001", temperature: float = 1.0) -> np.ndarray:
    """softmax(z / T) of one image by plain torch in float64, read with Pillow."""
    with open_session(pool.root, SilentFeedback()) as session, session.database.read() as connection:
        model = next(each for each in versions.history(connection) if each.version == version)
        loaded = load_version(session, model, torch.device("cpu"))
    stats = loaded.meta.pixel_stats
    pixels = torch.tensor(np.asarray(Image.open(path).convert("RGB")), dtype=torch.float64) / 255
    inputs = (pixels - torch.tensor(stats.mean)) / torch.tensor(stats.std)
    logits = loaded.model.double()(inputs.permute(2, 0, 1)[None]).detach()
    found: np.ndarray = torch.softmax(logits / temperature, dim=1)[0].numpy()
    return found


def temperature(pool: SmallPool, version: str = "m-0001") -> float | None:
    with open_session(pool.root, SilentFeedback()) as session, session.database.read() as connection:
        measured = evaluations.newest_of(connection, version)
    return None if measured is None else measured.temperature


def check(pool: SmallPool, found: list[dict[str, str]], top: int, scale: float = 1.0, version: str = "m-0001") -> None:
    for row in found:
        expected = oracle(pool, pool.root / row["path"], version, scale)
        order = np.argsort(-expected)[:top]
        for rank, label in enumerate(order, 1):
            suffix = "" if rank == 1 else f"_{rank}"
            assert row[f"class{suffix}"] == CLASSES[label]
            assert float(row[f"confidence{suffix}"]) == pytest.approx(expected[label], abs=1e-5)


def test_the_rest_of_the_pool(trained: SmallPool) -> None:
    outcome = trained.ok("predict", "--top", "3")
    found = rows(outcome.out)
    assert list(found[0]) == [
        "sample_id", "path", "class", "confidence", "class_2", "confidence_2", "class_3", "confidence_3",
    ]  # fmt: skip
    assert [row["sample_id"] for row in found] == [row["sample_id"] for row in trained.pool("unlabeled")]
    check(trained, found, 3)
    assert "not calibrated" in outcome.err
    again = trained.ok("predict", "--top", "3")
    assert again.out == outcome.out
    assert "scored" not in again.err


def test_calibrated_once_there_is_a_temperature(trained: SmallPool) -> None:
    trained.label(trained.pool(purpose="evaluation"))
    for index in range(60, 120):
        draw(trained.root / "photos" / f"{CLASSES[index % 3]}-{index}.png", CLASSES[index % 3], index)
    trained.ok("pool", "add", str(trained.root / "photos"))
    trained.label(trained.pool("unlabeled", purpose="evaluation"))
    trained.ok("evaluate")
    scale = temperature(trained)
    assert scale is not None and scale != 1.0
    outcome = trained.ok("predict")
    check(trained, rows(outcome.out)[:20], 1, scale)
    assert "confidence is calibrated" in outcome.err


def test_samples_in_flight_are_predicted_and_answered_ones_are_not(scored: SmallPool) -> None:
    scored.ok("query", "--budget", "3", "--strategy", "random")
    found = {row["sample_id"] for row in rows(scored.ok("predict").out)}
    waiting = {row["sample_id"] for state in ("unlabeled", "in flight") for row in scored.pool(state)}
    assert found == waiting


def test_an_older_version_in_a_pass_of_its_own(scored: SmallPool) -> None:
    scored.label(scored.pool("unlabeled")[:4])
    scored.ok("train")
    newest = rows(scored.ok("predict").out)
    older = rows(scored.ok("predict", "--model", "m-0001").out)
    check(scored, newest, 1, version="m-0002")
    check(scored, older, 1)
    for path in (scored.root / ".dalcli" / "scores" / "m-0001").glob("shard-*"):
        path.unlink()
    computed = rows(scored.ok("predict", "--model", "m-0001").out)
    assert [row["class"] for row in computed] == [row["class"] for row in older]
    check(scored, computed, 1)


def test_new_images_and_nothing_is_registered(trained: SmallPool, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    for index in range(9):
        draw(new / f"{CLASSES[index % 3]}-{index}.png", CLASSES[index % 3], 1000 + index)
    (new / "broken.png").write_bytes(b"no image")
    (tmp_path / "list.csv").write_text("path\nnew/red-0.png\nnew/blue-2.png\n")
    before = trained.ok("pool", "list").out
    outcome = trained.ok("predict", str(new), "--top", "2")
    found = rows(outcome.out)
    assert [Path(row["path"]).name for row in found] == sorted(p.name for p in new.glob("*-*.png"))
    check(trained, found, 2)
    assert "broken.png: " in outcome.err and "1 unreadable" in outcome.err
    listed = rows(trained.ok("predict", str(tmp_path / "list.csv"), str(new / "red-0.png")).out)
    assert [Path(row["path"]).name for row in listed] == ["red-0.png", "blue-2.png"]
    assert trained.ok("pool", "list").out == before
    summary = trained.json("predict", str(new))
    assert (summary["images"], summary["unreadable"], sum(summary["classes"].values())) == (9, 1, 9)


def test_lines_of_json(trained: SmallPool) -> None:
    table = rows(trained.ok("predict", "--top", "2").out)
    documents = [json.loads(line) for line in trained.ok("predict", "--top", "2", "--format", "jsonl").out.splitlines()]
    assert [one["sample_id"] for one in documents] == [row["sample_id"] for row in table]
    assert [one["top"][1]["class"] for one in documents] == [row["class_2"] for row in table]
    assert [one["confidence"] for one in documents] == [float(row["confidence"]) for row in table]


def test_in_pieces_as_at_once(trained: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(trained.root / "photos")
    whole = trained.ok("predict", folder).out
    monkeypatch.setattr(sources, "AT_ONCE", 7)
    assert trained.ok("predict", folder).out == whole
    trained.ok("predict", folder, "--output", str(trained.root / "p.csv"))
    assert (trained.root / "p.csv").read_text() == whole


def test_a_killed_run_is_gone_on_with(trained: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, output = str(trained.root / "photos"), trained.root / "p.csv"
    (trained.root / "photos" / "a.png").write_bytes(b"no image")
    whole = trained.ok("predict", folder).out
    really = sources.likeliest
    program = (
        "import sys\nfrom dalcli.prediction import sources\nfrom dalcli.cli.main import main\nimport os\n"
        "really, calls = sources.likeliest, []\n"
        "def dies(*a):\n    calls.append(1)\n    if len(calls) == 4: os._exit(9)\n    return really(*a)\n"
        "sources.likeliest = dies\nmain(sys.argv[1:])\n"
    )
    arguments = ["predict", folder, "--output", str(output), "-C", str(trained.root)]
    ended = subprocess.run([sys.executable, "-c", program, *arguments], env=environment(), capture_output=True)
    assert ended.returncode == 9
    part = output.with_name("p.csv.part")
    done = len(part.read_text().splitlines()) - 1
    assert done == 12 and not output.exists()  # three blocks of four, one of which could not be read
    with part.open("a") as file:
        file.write('{"id": "torn')
    seen: list[int] = []
    monkeypatch.setattr(sources, "likeliest", lambda *a: (seen.append(len(a[0])), really(*a))[1])
    outcome = trained.ok(*arguments[:-2])
    assert sum(seen) == 48 - 11
    assert "has 12 images already" in outcome.err
    assert output.read_text() == whole
    assert not part.exists()


def test_what_is_left_of_another_run_is_not_gone_on_with(trained: SmallPool) -> None:
    output = trained.root / "p.csv"
    output.with_name("p.csv.part").write_text('{"predictions": "another"}\n{"path": "x", "reason": "y"}\n')
    trained.ok("predict", str(trained.root / "photos"), "--output", str(output))
    assert len(rows(output.read_text())) == 48


def test_what_can_be_wrong(trained: SmallPool, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"x")
    for arguments, code, said in (
        (("predict", str(tmp_path / "nowhere")), 3, "no such file or folder"),
        (("predict", str(tmp_path / "bad")), 3, "none of the images can be read"),
        (("predict", str(tmp_path / "bad"), "-o", str(tmp_path / "p.csv")), 3, "none of the images can be read"),
        (("predict", "-o", str(tmp_path / "no" / "p.csv")), 3, "no such folder"),
        (("predict", "--top", "4"), 2, "knows 3 classes"),
        (("predict", "--model", "m-0009"), 2, "no version"),
        (("predict", "--auto", "--max-error", "0.1"), 5, "no evaluation labels"),
        (("predict", "--check"), 5, "predict --auto"),
        (("plan", "--finish", "--max-error", "0.1"), 5, "dalcli predict"),
    ):
        outcome = trained.run(*arguments)
        assert (outcome.code, outcome.out) == (code, ""), outcome
        assert said in outcome.err
    assert not list(tmp_path.glob("p.csv*"))
    (trained.version() / "model.safetensors").unlink()
    assert trained.run("predict", "--model", "m-0001").code == 1


def test_without_a_model(labeled: SmallPool) -> None:
    outcome = labeled.run("predict")
    assert outcome.code == 5 and "dalcli train" in outcome.err


def test_images_that_vanished_are_set_aside(trained: SmallPool) -> None:
    gone = trained.pool("unlabeled")[0]
    trained.path(gone).unlink()
    outcome = trained.ok("predict")
    assert gone["sample_id"] not in {row["sample_id"] for row in rows(outcome.out)}
    assert "can no longer be read" in outcome.err
    assert [row["sample_id"] for row in trained.pool("quarantined")] == [gone["sample_id"]]


def test_a_renamed_and_a_merged_class(scored: SmallPool) -> None:
    before = rows(scored.ok("predict", "--top", "3").out)
    scored.ok("classes", "merge", "green", "blue")
    scored.ok("classes", "rename", "red", "crimson")
    after = rows(scored.ok("predict").out)
    for old, new in zip(before, after, strict=True):
        shares = {old["class"]: float(old["confidence"]), old["class_2"]: float(old["confidence_2"])}
        shares |= {old["class_3"]: float(old["confidence_3"])}
        merged = {"crimson": shares["red"], "blue": shares["green"] + shares["blue"]}
        assert new["class"] == max(merged, key=lambda name: merged[name])
        assert float(new["confidence"]) == pytest.approx(max(merged.values()), abs=1e-6)


def test_training_on_labels_by_a_model(tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "w", 120, evaluation={"reserve": 0.5})
    pool.label(pool.pool(purpose="evaluation"))
    pool.label(pool.pool()[:30])
    pool.ok("train")
    taken = pool.json("predict", "--auto", "--max-error", "0.7", "--confidence", "0.5")["accepted"]
    assert taken
    assert pool.json("status")["newer_labels"] == 0
    assert "up to date" in pool.ok("train").err
    pool.configure(evaluation={"reserve": 0.5}, training={"auto_labels": True})
    pool.ok("train")
    assert pool.json("status")["model"]["labels"] == 30 + taken
    assert pool.json("status")["newer_labels"] == 0
    assert pool.run("predict", "--auto", "--max-error", "0.7", "--confidence", "0.5").code == 5
    pool.ok("predict", "--withdraw")
    assert pool.json("status")["newer_labels"] == taken

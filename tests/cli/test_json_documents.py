"""The keys of every ``--json`` document are a contract: scripts read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dalcli_runner import ok, write_labels
from workspaces import add_model, add_scores, make

STATES = ["unlabeled", "in flight", "labeled", "disputed", "skipped", "auto-labeled", "quarantined"]
BATCH = [
    "batch_id", "purpose", "requested", "issued", "answered", "released", "outstanding", "open", "issued_at", "model",
    "relabel",
]  # fmt: skip
MODEL = [
    "version", "parent", "classes", "labels", "labels_digest", "fingerprint", "seed", "threads", "device",
    "started_at", "finished_at", "epochs", "converged", "stopped", "train_accuracy", "train_loss", "penalty",
]  # fmt: skip


def states(document: dict[str, Any]) -> None:
    assert list(document) == ["training", "evaluation"]
    assert list(document["training"]) == list(document["evaluation"]) == STATES


def test_keys_of_every_document(tmp_path: Path) -> None:
    root = make(tmp_path / "work")
    (root / "photos" / "broken.png").write_bytes(b"")
    made = ok(root, "init", "photos", "--json").json
    keys = ["root", "classes", "states", "model", "image_size", "evaluation_reserve", "train", "weights"]
    assert list(made) == keys
    states(made["states"])
    added = ok(root, "pool", "add", "photos", "--json").json
    assert list(added) == ["states"]
    states(added["states"])
    listed = ok(root, "pool", "list", "--json").json
    assert list(listed) == ["entries"]
    assert list(listed["entries"][0]) == ["sample_id", "path", "purpose", "state", "label", "reason"]
    quarantined = ok(root, "pool", "quarantine", "--json").json
    assert list(quarantined) == ["files"]
    assert list(quarantined["files"][0]) == ["path", "reason", "sample_id"]
    assert list(ok(root, "pool", "relocate", "photos", "photos", "--json").json) == ["old", "new", "files"]
    rows = ok(root, "query", "--budget", "2").rows
    write_labels(root / "l.csv", rows[:1], all_of_them="cat")
    ingested = ok(root, "ingest-labels", "l.csv", "--json").json
    assert list(ingested) == ["file", "labels", "skipped", "empty", "batches"]
    assert list(ingested["batches"][0]) == BATCH
    batches = ok(root, "batch", "list", "--json").json
    assert list(batches) == ["batches"]
    assert list(batches["batches"][0]) == BATCH
    for command in ("show", "release"):
        shown = ok(root, "batch", command, "b-0001", "--json").json
        assert list(shown) == ["batch", "rows"]
        assert list(shown["batch"]) == BATCH
        assert list(shown["rows"][0]) == ["rank", "sample_id", "path", "state"]
    add_model(root)
    add_scores(root)
    ok(root, "query", "--new", "--budget", "1", "--strategy", "random")
    status = ok(root, "status", "--json").json
    assert list(status) == [
        "root", "classes", "labels_per_class", "states", "model_name", "train", "image_size", "model",
        "training_unfinished", "training_diverged",
        "newer_labels", "unscored", "open_batches", "curve", "paired", "control_gain", "proposed_classes",
        "auto_labels", "next_step",
    ]  # fmt: skip
    states(status["states"])
    assert list(status["model"]) == MODEL
    assert list(status["open_batches"][0]) == BATCH


def test_the_learning_curve(tmp_path: Path) -> None:
    from workspaces import session

    from dalcli.state import evaluations

    root = make(tmp_path / "work")
    add_model(root)
    report = {"accuracy": 0.75, "accuracy_interval": {"low": 0.5, "high": 0.9, "level": 0.95}, "examples": 12}
    with session(root) as opened, opened.database.write() as connection:
        evaluations.store(connection, 1, "labels", "settings", report)
    point = ok(root, "status", "--json").json["curve"]
    assert point == [{"version": "m-0001", "labels": 0, "accuracy": 0.75, "low": 0.5, "high": 0.9, "samples": 12}]
    assert "75.0%" in ok(root, "status").out.decode()


def test_numbers_that_json_lacks_become_null() -> None:
    from dalcli.cli.render import plain

    assert plain({"a": (float("inf"), float("nan"), 1.5)}) == {"a": [None, None, 1.5]}

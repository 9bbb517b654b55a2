"""What ``train`` starts from, when it has nothing to do, and how it ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tests import processes
from tests.processes import FailAtCall
from tests.small_pools import SmallPool, copied, draw, make_pool, same_weights


def files_of(pool: SmallPool) -> dict[str, tuple[int, int]]:
    """Identity and modification time of everything below models and scores."""
    return {
        str(path.relative_to(pool.root)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for folder in ("models", "scores")
        for path in (pool.root / ".dalcli" / folder).rglob("*")
    }


def test_a_second_run_prints_the_same_and_does_nothing(trained: SmallPool) -> None:
    first = trained.ok("train")
    before = files_of(trained)
    second = trained.ok("train")
    assert (first.out, first.err) == (second.out, second.err)
    assert second.err == "up to date: m-0001 was trained on all 14 labels\n"
    assert files_of(trained) == before
    assert trained.json("train")["model"]["version"] == "m-0001"


def test_the_first_run_prints_what_a_second_one_does(labeled: SmallPool) -> None:
    assert labeled.ok("train").out == labeled.ok("train").out


def test_not_converged_is_a_warning_not_a_failure(labeled: SmallPool) -> None:
    labeled.configure(training={"max_epochs": 1})
    outcome = labeled.run("train", "--quiet")
    assert outcome.code == 0
    assert outcome.err.startswith("warning: m-0001 has not converged (max_epochs after 1 epochs")
    assert "training.max_epochs" in outcome.err
    assert labeled.json("train")["model"]["converged"] is False


def test_converged_is_reported(labeled: SmallPool) -> None:
    labeled.configure(training={"accuracy_threshold": 0.2, "hold_epochs": 1})
    model = labeled.json("train")["model"]
    assert model["converged"] is True
    assert model["stopped"] == "converged"
    assert labeled.meta()["history"][-1]["train_accuracy"] >= 0.2


def test_without_labels_it_is_not_ready(tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "w", 9)
    outcome = pool.run("train")
    assert outcome.code == 5
    assert "dalcli query" in outcome.err
    pool.ok("query", "--budget", "2")
    outcome = pool.run("train")
    assert outcome.code == 5
    assert "dalcli ingest-labels" in outcome.err


def test_a_single_label_is_enough(labeled: SmallPool, tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "w", 9, model={"name": "resnet18", "dropout": 0}, training={"max_epochs": 2})
    pool.label(pool.pool()[:1])
    trained = pool.ok("train", "--json")
    assert json.loads(trained.out)["model"]["labels"] == 1
    assert "warning: the only label is of class " in trained.err
    assert all(np.isfinite(value).all() for value in pool.weights().values())


def test_labels_of_one_class_only_are_enough(labeled: SmallPool) -> None:
    reds = [row for row in labeled.pool("labeled") if "red" in row["path"]]
    others = [row for row in labeled.pool("labeled") if "red" not in row["path"]]
    labeled.label(others, "red", "--on-conflict", "replace")
    trained = labeled.ok("train", "--json")
    count = len(reds) + len(others)
    assert json.loads(trained.out)["model"]["labels"] == count
    assert f"warning: all {count} labels are of one class, red: the model cannot tell classes apart" in trained.err
    assert "no label yet" not in trained.err
    assert labeled.ok("train").err == f"up to date: m-0001 was trained on all {count} labels\n"


def test_classes_without_a_label_are_named_once(labeled: SmallPool) -> None:
    blues = [row for row in labeled.pool("labeled") if "blue" in row["path"]]
    labeled.configure(training={"max_epochs": 1})
    labeled.label(blues, "red", "--on-conflict", "replace")
    assert labeled.ok("train").err.count("warning: 1 of 3 classes has no label yet: blue\n") == 1
    fresh = labeled.pool("unlabeled")
    labeled.label(fresh[:1], "blue")
    assert "no label yet" not in labeled.ok("train").err
    for number, row in enumerate(fresh[1:7]):
        labeled.label([row], f"c{number}", "--allow-new-classes")
    labeled.label(fresh[1:7], "red", "--on-conflict", "replace")
    assert "warning: 6 of 9 classes have no label yet: c0, c1, c2, c3, c4, ...\n" in labeled.ok("train").err


def test_after_a_divergence_status_says_so_until_training_starts_again(labeled: SmallPool) -> None:
    def told() -> tuple[bool, bool, str]:
        status, text = labeled.json("status"), labeled.ok("status").out
        line = next((line for line in text.splitlines() if line.startswith("training  ")), "")
        return status["training_unfinished"], status["training_diverged"], line.removeprefix("training").strip()

    diverged = (True, True, "diverged: lower training.learning_rate and run `dalcli train`")
    labeled.configure(training={"optimizer": "sgd", "learning_rate": 1e30})
    first = labeled.run("train")
    assert (first.code, "training diverged: the loss is" in first.err) == (1, True)
    assert told() == diverged
    again = labeled.run("train")  # nothing was changed: it ends as before
    assert (again.code, again.err.splitlines()[-2:]) == (1, first.err.splitlines()[-2:])
    assert "continuing m-0001, which diverged" in again.err
    assert told() == diverged
    interrupted = FailAtCall("dalcli.training.version:train", KeyboardInterrupt())
    assert processes.run(labeled, ["train"], interrupted).code == 130
    assert told() == (True, False, "interrupted: `dalcli train` continues it")
    labeled.run("train")
    labeled.configure(training={"max_epochs": 1})
    assert "changed since training diverged: starting again" in labeled.ok("train").err
    assert told() == (False, False, "")


def test_disputed_and_skipped_samples_are_not_trained_on(labeled: SmallPool) -> None:
    fresh = labeled.pool("unlabeled")
    file = labeled.root / "votes.csv"
    file.write_text(
        "sample_id,label,annotator,skipped\n"
        f"{fresh[0]['sample_id']},red,ann,\n{fresh[0]['sample_id']},blue,bob,\n"
        f"{fresh[1]['sample_id']},,ann,1\n{fresh[2]['sample_id']},green,ann,\n"
    )
    labeled.ok("ingest-labels", str(file))
    assert len(labeled.pool("disputed")) == len(labeled.pool("skipped")) == 1
    assert labeled.json("train")["model"]["labels"] == 15


def test_evaluation_samples_are_never_trained_on(labeled: SmallPool, trained: SmallPool) -> None:
    labeled.label(labeled.pool(purpose="evaluation"))
    assert labeled.json("train")["model"]["labels"] == 14
    assert same_weights(labeled.weights(), trained.weights())


def test_a_warm_start_begins_with_the_parents_weights(trained: SmallPool) -> None:
    trained.label(trained.pool("unlabeled")[:2])
    trained.configure(training={"learning_rate": 1e-30, "max_epochs": 1})
    trained.ok("train")
    assert same_weights(trained.weights("m-0002"), trained.weights("m-0001"))
    assert trained.meta("m-0002")["parent"] == "m-0001"


def test_reinit_begins_with_the_seeds_weights_every_time(labeled: SmallPool) -> None:
    labeled.configure(training={"learning_rate": 1e-30, "max_epochs": 1, "start": "reinit"})
    labeled.ok("train")
    labeled.label(labeled.pool("unlabeled")[:2])
    labeled.configure(training={"learning_rate": 1e-30, "max_epochs": 1, "start": "warm"}, seed=4)
    labeled.ok("train")
    labeled.configure(training={"learning_rate": 1e-30, "max_epochs": 1, "start": "reinit"})
    labeled.ok("train")
    assert same_weights(labeled.weights("m-0001"), labeled.weights("m-0002"))
    assert same_weights(labeled.weights("m-0001"), labeled.weights("m-0003"))


def test_pixel_statistics_are_those_of_the_first_training(trained: SmallPool) -> None:
    first = trained.meta()["pixel_stats"]
    assert 0.2 < first["mean"][0] < 0.7
    trained.label(trained.pool("unlabeled"))
    trained.ok("train")
    assert trained.meta("m-0002")["pixel_stats"] == first
    trained.configure(training={"start": "reinit"})
    trained.ok("train")
    assert trained.meta("m-0003")["pixel_stats"] == first


def test_a_new_class_grows_the_head_and_keeps_what_was_learned(trained: SmallPool) -> None:
    row = trained.pool("unlabeled")[0]
    trained.label([row], "violet", "--allow-new-classes")
    trained.configure(training={"learning_rate": 1e-30, "max_epochs": 1})
    outcome = trained.ok("train")
    assert "grew from 3 to 4 classes" in outcome.err
    assert trained.meta("m-0002")["classes"] == ["red", "green", "blue", "violet"]
    before, after = trained.weights("m-0001"), trained.weights("m-0002")
    assert np.array_equal(after["head.weight"][:3], before["head.weight"])
    assert np.array_equal(after["head.bias"][:3], before["head.bias"])
    assert np.abs(after["head.weight"][3]).max() <= 1e-29
    assert same_weights(*({n: v for n, v in w.items() if not n.startswith("head")} for w in (before, after)))
    trained.configure()
    trained.ok("train")
    assert np.abs(trained.weights("m-0003")["head.weight"][3]).max() > 0


def test_another_architecture_starts_fresh_and_says_so(trained: SmallPool) -> None:
    trained.configure(model={"name": "resnet18"}, training={"max_epochs": 1})
    outcome = trained.ok("train")
    assert "training starts from fresh weights" in outcome.err
    assert trained.meta("m-0002")["spec"]["name"] == "resnet18"
    assert trained.meta("m-0002")["parent"] == "m-0001"


def test_dropout_has_no_weights_so_changing_it_keeps_them(trained: SmallPool) -> None:
    trained.configure(model={"dropout": 0.5}, training={"learning_rate": 1e-30, "max_epochs": 1})
    outcome = trained.ok("train")
    assert "fresh" not in outcome.err
    assert same_weights(trained.weights("m-0002"), trained.weights("m-0001"))


def test_pretrained_weights_come_from_a_file_in_the_workspace(trained: SmallPool, tmp_path: Path) -> None:
    given = {name: (value * 0.5).astype(np.float32) for name, value in trained.weights().items()}
    save_file(given, trained.root / "given.safetensors")
    trained.configure(model={"weights": "given.safetensors"}, training={"learning_rate": 1e-30, "max_epochs": 1})
    outcome = trained.ok("train")
    assert "starts from given.safetensors" in outcome.err
    assert same_weights(trained.weights("m-0002"), load_file(trained.root / "given.safetensors"))
    assert trained.meta("m-0002")["pixel_stats"]["mean"] == [0.485, 0.456, 0.406]


def test_pretrained_weights_that_are_not_there_change_nothing(labeled: SmallPool) -> None:
    labeled.configure(model={"weights": "nowhere.safetensors"})
    outcome = labeled.run("train")
    assert outcome.code == 3
    assert "model.weights" in outcome.err
    assert labeled.json("status")["training_unfinished"] is False


def test_a_loss_that_is_not_finite_fails_with_a_remedy(labeled: SmallPool, trained: SmallPool) -> None:
    labeled.configure(training={"learning_rate": 1e30})
    outcome = labeled.run("train")
    assert outcome.code == 1
    assert "training.learning_rate" in outcome.err
    assert labeled.json("status")["model"] is None
    labeled.configure()
    labeled.ok("train")
    assert same_weights(labeled.weights(), trained.weights())


def test_lost_files_of_the_newest_version_are_made_again_from_the_one_before(trained: SmallPool) -> None:
    trained.label(trained.pool("unlabeled")[:2])
    trained.ok("train")
    (trained.version("m-0002") / "model.safetensors").unlink()
    outcome = trained.ok("train")
    assert "the files of m-0002 are missing: starting from m-0001" in outcome.err
    assert trained.meta("m-0003")["parent"] == "m-0001"
    trained.ok("score")


def test_when_all_model_files_are_lost_it_starts_from_nothing(trained: SmallPool) -> None:
    shutil.rmtree(trained.root / ".dalcli" / "models")
    assert trained.run("score").code == 1
    trained.ok("train")
    assert trained.meta("m-0002")["parent"] is None
    trained.ok("score")


def test_a_test_image_that_arrives_while_train_starts_is_not_trained_on(labeled: SmallPool, tmp_path: Path) -> None:
    # Between reading the labels and recording them as seen, an image moves to the test set.
    row = labeled.pool("labeled")[0]
    marker = tmp_path / "marker"
    running = processes.start(labeled, ["train"], processes.HangAtCall("dalcli.training.version:_begin", marker))
    processes.wait_until(marker.exists)
    test_set = labeled.root / "test.csv"
    test_set.write_text(f"path,label\n{labeled.path(row)},{row['label']}\n")
    labeled.ok("pool", "add", "--test", str(test_set))
    marker.unlink()
    assert running.finish().code == 0
    assert labeled.json("status")["model"]["labels"] == 13


def test_an_unknown_failure_is_a_bug_report_and_leaves_the_state_intact(labeled: SmallPool, trained: SmallPool) -> None:
    outcome = processes.run(labeled, ["train"], FailAtCall("torch.optim:Adam.step", ZeroDivisionError(), 3))
    assert outcome.code == 70
    labeled.ok("train")
    assert same_weights(labeled.weights(), trained.weights())


def test_a_moved_workspace_goes_on(trained: SmallPool, tmp_path: Path) -> None:
    moved = copied(trained, tmp_path / "elsewhere" / "w")
    shutil.rmtree(trained.root)
    assert "up to date" in moved.ok("train").err
    draw(moved.root / "photos" / "red-99.png", "red", 99)
    moved.ok("pool", "add", str(moved.root / "photos"))
    moved.ok("score")

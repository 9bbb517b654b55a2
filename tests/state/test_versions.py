"""Model versions and their score tables as rows: how training ended, and what a table was begun with."""

from __future__ import annotations

from pathlib import Path

from pools_of_samples import pool

from dalcli.state import classes, scores, versions
from dalcli.state.database import Connection
from dalcli.state.versions import ModelVersion


def begin(connection: Connection) -> ModelVersion:
    return versions.begin(
        connection, parent=None, classes=3, labels={1: 0}, labels_digest="d", fingerprint="f", seed=0, threads=1,
        device="cpu",
    )  # fmt: skip


def left(connection: Connection) -> ModelVersion:
    found = versions.unfinished(connection)
    assert found is not None
    return found


def finish(connection: Connection, version: ModelVersion) -> ModelVersion:
    versions.finish(
        connection, version, epochs=1, converged=True, stopped="converged", train_accuracy=1.0, train_loss=0.0
    )
    found = versions.newest(connection)
    assert found is not None
    return found


def test_a_divergence_is_remembered_until_training_starts_again(tmp_path: Path) -> None:
    with pool(tmp_path, 1) as database, database.write() as connection:
        version = begin(connection)
        assert not version.diverged
        versions.mark_diverged(connection, version)
        assert left(connection).diverged
        versions.begin_again(connection, version)
        assert left(connection) == version


def test_a_finished_version_did_not_diverge_and_stays_as_it_is(tmp_path: Path) -> None:
    with pool(tmp_path, 1) as database, database.write() as connection:
        version = begin(connection)
        versions.mark_diverged(connection, version)
        finished = finish(connection, version)
        assert (finished.stopped, finished.diverged) == ("converged", False)
        versions.mark_diverged(connection, finished)
        assert versions.newest(connection) == finished


def test_a_version_begun_in_place_of_one_that_diverged_did_not(tmp_path: Path) -> None:
    with pool(tmp_path, 1) as database, database.write() as connection:
        version = begin(connection)
        versions.mark_diverged(connection, version)
        versions.abandon(connection, left(connection))
        assert not begin(connection).diverged


def test_the_micro_batch_of_a_score_table(tmp_path: Path) -> None:
    with pool(tmp_path, 1) as database, database.write() as connection:
        model = finish(connection, begin(connection)).key
        assert scores.table(connection, model) is None
        scores.begin(connection, model, scores.TableRow(64, "{}"))
        assert scores.table(connection, model) == scores.TableRow(64, "{}")


def test_labels_that_were_seen_count_as_the_classes_of_today(tmp_path: Path) -> None:
    with pool(tmp_path, 1) as database, database.write() as connection:
        version = begin(connection)
        assert versions.seen_labels_today(connection, version) == versions.seen_labels(connection, version) == {1: 0}
        classes.merge(connection, 0, 1)
        assert versions.seen_labels(connection, version) == {1: 0}
        assert versions.seen_labels_today(connection, version) == {1: 1}

"""``query``: what it prints, when it prints it again, and what it never hands out."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pytest
from dalcli_runner import finish, message, ok, run, start, write_labels
from workspaces import add_model, add_scores, ask, dump, ids, image, make, photos

from dalcli.data.identity import reserve_position

HEADER = b"sample_id,path,rank,score,pseudo_label,confidence,strategy,arm,batch_id,label\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "work")


def test_prints_exactly_the_columns_of_the_contract(root: Path) -> None:
    out = ok(root, "query", "--budget", "3").out
    assert out.startswith(HEADER)
    assert out.count(b"\n") == 4
    assert b"\r" not in out
    known = ids(root / "photos")
    for rank, row in enumerate(csv.reader(io.StringIO(out.decode())), start=0):
        if rank:
            name = Path(row[1]).name
            assert row == [known[name], f"photos/{name}", str(rank), "", "", "", "random", "active", "b-0001", ""]


def test_a_second_run_prints_the_same_bytes_and_changes_nothing(root: Path) -> None:
    first = ok(root, "query", "--budget", "3")
    before = dump(root)
    again = ok(root, "query", "--budget", "3")
    assert again.out == first.out
    assert "b-0001 is open: 0 of 3 answered" in again.err
    assert dump(root) == before


def test_an_open_batch_is_printed_whatever_has_changed(root: Path) -> None:
    first = ok(root, "query", "--budget", "3")
    shutil.rmtree(root / "photos")
    (root / "dalcli.yaml").write_text("seed: 5\nquery:\n  strategy: margin\n  cold_start: random\n  gamma: 7\n")
    ok(root, "ingest-labels", write_labels(root / "one.csv", first.rows[:1], all_of_them="cat"))
    add_model(root)
    ok(root, "ingest-labels", write_labels(root / "two.csv", first.rows[1:2], all_of_them="dog"))
    again = ok(root, "query", "--budget", "3")
    assert again.out == first.out
    assert "2 of 3 answered" in again.err
    assert "labels are newer than model m-0001" in again.err


def test_images_that_are_gone_are_told_of(root: Path) -> None:
    assert "not where" not in ok(root, "query", "--budget", "2").err
    (root / "photos").rename(root / "elsewhere")
    told = ok(root, "query", "--budget", "3", "--new").err
    assert "3 images of this batch are not where they were found" in told and "photos/" in told
    assert "dalcli batch release b-0002" in told


def test_the_configured_budget_may_change_while_a_batch_is_open(root: Path) -> None:
    (root / "dalcli.yaml").write_text("query:\n  budget: 2\n")
    first = ok(root, "query")
    (root / "dalcli.yaml").write_text("query:\n  budget: 4\n")
    assert ok(root, "query").out == first.out
    assert ok(root, "query", "--budget", "2").out == first.out
    assert run(root, "query", "--budget", "4").code == 5


def test_the_same_in_effect_is_the_same(root: Path) -> None:
    (root / "dalcli.yaml").write_text("query:\n  strategy: dynamical\n")
    first = ok(root, "query", "--budget", "2")
    assert ok(root, "query", "--budget", "2", "--strategy", "dynamical", "--gamma", "2").out == first.out


@pytest.mark.parametrize(
    "other",
    [
        ("--budget", "4"),
        ("--budget", "3", "--strategy", "margin"),
        ("--budget", "3", "--gamma", "0"),
    ],
)
def test_other_options_while_a_batch_is_open_are_refused(tmp_path: Path, other: tuple[str, ...]) -> None:
    root = make(tmp_path / "work", config="query: {strategy: dynamical}\n")
    ok(root, "query", "--budget", "3")
    before = dump(root)
    refused = run(root, "query", *other)
    assert refused.code == 5
    what, remedy = message(refused)
    assert "b-0001" in what
    assert "0 of 3 answered" in what
    assert "dalcli batch release b-0001" in remedy
    assert "--new" in remedy
    assert dump(root) == before


@pytest.mark.parametrize("purposes", [("training", "evaluation"), ("evaluation", "training")])
def test_batches_of_two_purposes_do_not_stand_in_each_others_way(tmp_path: Path, purposes: tuple[str, str]) -> None:
    """One open batch per purpose: each is printed again, and other options are refused for its own purpose alone."""
    root = make(tmp_path / "work", 40, reserve=0.5)
    first, second = (ok(root, "query", "--budget", "3", "--purpose", purpose) for purpose in purposes)
    assert {row["batch_id"] for row in first.rows} == {"b-0001"}
    assert {row["batch_id"] for row in second.rows} == {"b-0002"}
    before = dump(root)
    for asked, batch, purpose in ((first, "b-0001", purposes[0]), (second, "b-0002", purposes[1])):
        assert ok(root, "query", "--budget", "3", "--purpose", purpose).out == asked.out
        refused = run(root, "query", "--budget", "4", "--purpose", purpose)
        assert refused.code == 5
        what, remedy = message(refused)
        assert f"batch {batch} ({purpose}, 3 asked) is open with other options" in what
        assert f"dalcli batch release {batch}" in remedy
        assert "--new" in remedy
    assert dump(root) == before


def test_a_key_is_of_one_purpose(tmp_path: Path) -> None:
    root = make(tmp_path / "work", 40, reserve=0.5)
    ok(root, "query", "--new", "--key", "monday", "--budget", "3")
    assert run(root, "query", "--new", "--key", "monday", "--budget", "3", "--purpose", "evaluation").code == 2


def test_new_issues_other_samples_every_time(root: Path) -> None:
    issued = [row["sample_id"] for _ in range(4) for row in ok(root, "query", "--new", "--budget", "3").rows]
    assert sorted(issued) == sorted(ids(root / "photos").values())
    assert run(root, "query", "--new", "--budget", "1").code == 6


def test_a_key_names_one_batch_for_ever(root: Path) -> None:
    first = ok(root, "query", "--new", "--key", "monday", "--budget", "3")
    assert ok(root, "query", "--new", "--key", "monday", "--budget", "3").out == first.out
    other = ok(root, "query", "--new", "--key", "tuesday", "--budget", "3")
    assert not {row["sample_id"] for row in first.rows} & {row["sample_id"] for row in other.rows}
    ok(root, "ingest-labels", write_labels(root / "l.csv", first.rows, all_of_them="cat"))
    closed = ok(root, "query", "--new", "--key", "monday", "--budget", "3")
    assert closed.out == first.out
    assert "b-0001 is closed: 3 of 3 answered" in closed.err
    refused = run(root, "query", "--new", "--key", "monday", "--budget", "4")
    assert refused.code == 2
    assert "b-0001" in refused.err
    assert len(ask(root, "SELECT * FROM batch")) == 2


def test_a_closed_batch_makes_room_for_the_next(root: Path) -> None:
    first = ok(root, "query", "--budget", "5")
    ok(root, "ingest-labels", write_labels(root / "l.csv", first.rows, all_of_them="cat"))
    second = ok(root, "query", "--budget", "5")
    assert second.rows[0]["batch_id"] == "b-0002"
    assert not {row["sample_id"] for row in first.rows} & {row["sample_id"] for row in second.rows}


def test_fewer_than_asked_for_are_handed_out_with_a_warning(root: Path) -> None:
    short = ok(root, "query", "--budget", "50")
    assert len(short.rows) == 12
    assert "warning: only 12 of the 50 samples asked for are left" in short.err


def test_nothing_left_says_where_everything_is(root: Path) -> None:
    rows = ok(root, "query", "--budget", "12").rows
    ok(root, "ingest-labels", write_labels(root / "l.csv", rows[:4], all_of_them="cat"))
    nothing = run(root, "query", "--new", "--budget", "1")
    assert nothing.code == 6
    assert "0 unlabeled, 8 in flight, 4 labeled" in message(nothing)[0]
    empty = run(root, "query", "--new", "--budget", "1", "--purpose", "evaluation")
    assert empty.code == 6


def test_two_queries_at_once_hand_out_different_samples(root: Path) -> None:
    photos(root / "more", 200, first=100)
    ok(root, "pool", "add", "more")
    processes = [start(root, "query", "--new", "--budget", "30") for _ in range(4)]
    outcomes = [finish(process) for process in processes]
    assert [outcome.code for outcome in outcomes] == [0] * 4
    issued = [row["sample_id"] for outcome in outcomes for row in outcome.rows]
    assert len(issued) == len(set(issued)) == 120
    assert {row["batch_id"] for outcome in outcomes for row in outcome.rows} == {f"b-000{n}" for n in range(1, 5)}


def test_a_query_that_lost_the_race_chooses_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dalcli.querying import selection

    choose, other = selection.select_batch, []

    def slow(*arguments: object) -> object:
        chosen = choose(*arguments)  # type: ignore[arg-type]
        if not other:  # somebody else is faster, once
            other.append(finish(start(root, "query", "--new", "--budget", "4")))
        return chosen

    monkeypatch.setattr(selection, "select_batch", slow)
    mine = ok(root, "query", "--new", "--budget", "4")
    assert other[0].code == 0
    assert mine.rows[0]["batch_id"] == "b-0002"
    assert not {row["sample_id"] for row in mine.rows} & {row["sample_id"] for row in other[0].rows}


def test_two_queries_of_different_purposes_do_not_share_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dalcli.querying import selection

    root = make(tmp_path / "reserved", 30, reserve=0.3)
    choose, other = selection.select_batch, []

    def slow(*arguments: object) -> object:
        chosen = choose(*arguments)  # type: ignore[arg-type]
        if not other:
            other.append(finish(start(root, "query", "--purpose", "evaluation", "--budget", "2")))
        return chosen

    monkeypatch.setattr(selection, "select_batch", slow)
    mine = ok(root, "query", "--budget", "4")  # by now an evaluation batch is open, which is no reason not to
    assert {row["batch_id"] for row in other[0].rows} == {"b-0001"}
    assert {row["batch_id"] for row in mine.rows} == {"b-0002"}


def test_a_query_that_lost_the_race_to_its_like_prints_what_that_was_given(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dalcli.querying import selection

    choose, other = selection.select_batch, []

    def slow(*arguments: object) -> object:
        chosen = choose(*arguments)  # type: ignore[arg-type]
        other.append(finish(start(root, "query", "--budget", "4")))
        return chosen

    monkeypatch.setattr(selection, "select_batch", slow)
    mine = ok(root, "query", "--budget", "4")
    assert [outcome.code for outcome in other] == [0]
    assert mine.out == other[0].out
    assert len(ask(root, "SELECT * FROM batch")) == 1


def test_a_race_that_is_lost_again_and_again_is_given_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dalcli.querying import issuing

    attempts: list[str] = []

    def lost(*arguments: object) -> bool:
        attempts.append("lost")
        return False

    monkeypatch.setattr(issuing, "issue", lost)
    refused = run(root, "query", "--budget", "4")
    assert refused.code == 1
    assert message(refused)[1] == "try again"
    assert len(attempts) == 10


def test_a_sample_that_was_answered_meanwhile_is_not_issued(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dalcli.querying import selection

    choose, answered = selection.select_batch, []

    def slow(*arguments: object) -> object:
        chosen = choose(*arguments)  # type: ignore[arg-type]
        if not answered:
            answered.append(chosen.images[0].sample_id)
            labels = root / "fast.csv"
            labels.write_text(f"sample_id,label\n{answered[0]},cat\n")
            assert finish(start(root, "ingest-labels", labels)).code == 0
        return chosen

    monkeypatch.setattr(selection, "select_batch", slow)
    rows = ok(root, "query", "--budget", "4").rows
    assert len(rows) == 4
    assert answered[0] not in {row["sample_id"] for row in rows}


def test_the_reserve_is_never_offered_to_training(tmp_path: Path) -> None:
    root = make(tmp_path / "work", 40, reserve=0.4)
    known = ids(root / "photos").values()
    positions = {sample: reserve_position(0, sample) for sample in known}
    reserve = sorted((sample for sample in known if positions[sample] < 0.4), key=positions.__getitem__)
    assert 0 < len(reserve) < 40
    training = ok(root, "query", "--budget", "40").rows
    assert sorted(row["sample_id"] for row in training) == sorted(set(known) - set(reserve))
    evaluation = ok(root, "query", "--new", "--purpose", "evaluation", "--budget", "5").rows
    assert [row["sample_id"] for row in evaluation] == reserve[:5]
    assert {(row["arm"], row["strategy"], row["score"]) for row in evaluation} == {("evaluation", "random", "")}
    rest = ok(root, "query", "--new", "--purpose", "evaluation", "--budget", "40").rows
    assert [row["sample_id"] for row in rest] == reserve[5:]


def test_the_seed_decides_which_samples_a_cold_start_takes(tmp_path: Path) -> None:
    def first(name: str, seed: int) -> bytes:
        return ok(make(tmp_path / name, config=f"seed: {seed}\n"), "query", "--budget", "4").out

    assert first("a", 1) == first("b", 1)
    assert first("c", 2) != first("a", 1)


def test_stored_scores_decide_and_are_printed(root: Path) -> None:
    (root / "dalcli.yaml").write_text("query:\n  strategy: dynamical\n")
    labeled = ok(root, "query", "--budget", "2").rows
    ok(root, "ingest-labels", write_labels(root / "l.csv", labeled, all_of_them="cat"))
    add_model(root)
    inner = add_scores(root)
    rows = ok(root, "query", "--budget", "3").rows
    open_for_choice = {
        sample: value for sample, value in inner.items() if sample not in {r["sample_id"] for r in labeled}
    }
    best = sorted(open_for_choice, key=open_for_choice.__getitem__, reverse=True)[:3]
    assert [row["sample_id"] for row in rows] == best
    assert [float(row["score"]) for row in rows] == [2 * inner[sample] for sample in best]
    assert {row["strategy"] for row in rows} == {"dynamical"}
    cats = {sample: 0.1 + 0.8 * index / 11 for index, sample in enumerate(inner)}
    for row in rows:
        cat = cats[row["sample_id"]]
        assert row["pseudo_label"] == ("cat" if cat > 0.5 else "dog")
        assert float(row["confidence"]) == pytest.approx(max(cat, 1 - cat), rel=1e-6)
        assert len(row["confidence"]) <= 11  # a float32, as short as it can be written


def test_a_value_that_is_not_a_number_is_an_empty_cell(root: Path) -> None:
    add_model(root)
    add_scores(root, [float("nan")] * 11 + [1.0])
    asked = ok(root, "query", "--budget", "2", "--strategy", "dynamical")
    assert [row["score"] for row in asked.rows] == ["2.0", ""]
    assert "11 samples have no finite score" in asked.err


def test_labels_newer_than_the_model_stop_a_new_batch_only(root: Path) -> None:
    rows = ok(root, "query", "--budget", "2").rows
    ok(root, "ingest-labels", write_labels(root / "1.csv", rows[:1], all_of_them="cat"))
    add_model(root)
    add_scores(root)
    ok(root, "ingest-labels", write_labels(root / "2.csv", rows[1:], all_of_them="cat"))
    refused = run(root, "query", "--budget", "2")
    assert refused.code == 5
    assert "1 label is newer than model m-0001" in refused.err
    assert "dalcli train" in message(refused)[1]
    assert len(ok(root, "query", "--budget", "2", "--stale-ok").rows) == 2


def test_a_renamed_image_is_printed_under_its_name_of_today(root: Path) -> None:
    (root / "photos" / "3.png").rename(root / "photos" / "three.png")
    ok(root, "pool", "add", "photos")
    paths = {row["path"] for row in ok(root, "query", "--budget", "12").rows}
    assert "photos/three.png" in paths
    assert "photos/3.png" not in paths


def test_output_is_a_whole_file_or_none(root: Path) -> None:
    out = ok(root, "query", "--budget", "2", "--output", "batch.csv")
    assert out.out == b""
    assert (root / "batch.csv").read_bytes() == ok(root, "query", "--budget", "2").out
    assert ok(root, "query", "--budget", "2", "-o", "-").out == (root / "batch.csv").read_bytes()
    assert sorted(path.name for path in root.iterdir() if path.name.startswith(".")) == [".dalcli"]


@pytest.mark.parametrize("output", ["nowhere/batch.csv", "photos"])
def test_an_impossible_output_is_noticed_before_a_batch_is_issued(root: Path, output: str) -> None:
    refused = run(root, "query", "--budget", "2", "--output", output)
    assert refused.code == 3
    assert ask(root, "SELECT * FROM batch") == []


def test_output_to_standard_output_by_name(root: Path) -> None:
    out = ok(root, "query", "--budget", "2").out
    piped = finish(start(root, "query", "--budget", "2", "--output", "/dev/stdout"))
    assert (piped.code, piped.out) == (0, out)


def test_output_to_a_device_does_not_replace_it(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.csv"
    link.symlink_to("/dev/null")
    ok(root, "query", "--budget", "2", "--output", link)
    assert link.is_symlink()
    assert Path("/dev/null").is_char_device()


def test_evaluation_takes_no_strategy(root: Path) -> None:
    refused = run(root, "query", "--budget", "2", "--purpose", "evaluation", "--strategy", "margin")
    assert refused.code == 2


def test_a_deleted_sample_is_noticed_when_the_batch_is_issued(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dalcli.querying import selection

    choose, gone = selection.select_batch, []

    def slow(*arguments: object) -> object:
        chosen = choose(*arguments)  # type: ignore[arg-type]
        if not gone:  # its file is overwritten: the sample is forgotten, and another one takes its row number
            gone.append(chosen.images[0].sample_id)
            image(root / chosen.images[0].path, 999)
            assert finish(start(root, "pool", "add", "photos")).code == 0
        return chosen

    monkeypatch.setattr(selection, "select_batch", slow)
    rows = ok(root, "query", "--budget", "12").rows
    assert {row["sample_id"] for row in rows} == set(ids(root / "photos").values())


def test_few_samples_are_told_in_the_singular(root: Path) -> None:
    add_model(root)
    add_scores(root, [1.0, float("nan"), *[2.0] * 10])
    first = ok(root, "query", "--budget", "10", "--strategy", "dynamical")
    assert "1 sample has no finite score; it was asked last" in first.err
    assert "issued batch b-0001: 10 samples (dynamical, model m-0001)" in first.err
    assert "issued batch b-0002: 1 sample (" in ok(root, "query", "--new", "--budget", "1").err
    assert "only 1 of the 2 samples asked for is left" in ok(root, "query", "--new", "--budget", "2").err


GAMMA = ("query", "--budget", "2", "--gamma", "0.5")


@pytest.mark.parametrize("strategy", ["diverse-margin", "margin", "badge", "random"])
@pytest.mark.parametrize("where", ["typed", "configured"])
def test_a_gamma_without_effect_is_refused_before_anything_is_done(root: Path, strategy: str, where: str) -> None:
    """Nothing is scored either: the model is a pretended one, and scoring with it would fail."""
    typed = ("--strategy", strategy) if where == "typed" else ()
    if where == "configured":
        (root / "dalcli.yaml").write_text(f"query:\n  strategy: {strategy}\n")
    add_model(root)
    before = dump(root)
    refused = run(root, *GAMMA, *typed)
    assert refused.code == 2
    assert f"--gamma has no effect on {strategy}" in message(refused)[0]
    assert dump(root) == before


def test_a_gamma_without_effect_is_refused_at_a_cold_start_and_beside_an_open_batch(root: Path) -> None:
    assert run(root, *GAMMA).code == 2
    ok(root, "query", "--budget", "2")
    assert run(root, *GAMMA).code == 2
    assert run(root, *GAMMA, "--new").code == 2
    assert len(ask(root, "SELECT * FROM batch")) == 1


@pytest.mark.parametrize("strategy", ["dynamical", "diverse-dynamical", "composed"])
def test_a_gamma_with_effect_is_none_to_talk_about(root: Path, strategy: str) -> None:
    """At a cold start, too: what counts is the strategy that was asked for."""
    cold = ok(root, *GAMMA, "--strategy", strategy)
    assert (cold.rows[0]["strategy"], "no effect" in cold.err) == ("random", False)
    add_model(root)
    add_scores(root)
    warm = ok(root, *GAMMA, "--strategy", strategy, "--new")
    assert (warm.rows[0]["strategy"], "no effect" in warm.err) == (strategy, False)

"""Which columns exist for which samples: the store's answers against looking at every file; what makes them invalid."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from workspaces import add_model, make, session

from dalcli.config.schema import Config
from dalcli.data.identity import digests
from dalcli.errors import DalcliError
from dalcli.scores.columns import Group
from dalcli.scores.settings import DropoutSettings, GradientSettings, TableSettings, wanted_settings
from dalcli.scores.store import ScoreStore
from dalcli.scores.table import ShardFile, ShardMetadata, write_shard
from dalcli.state import catalog, versions
from dalcli.state.scores import ScoreFile
from dalcli.workspace.session import Session

COUNT, CLASSES, SAMPLES = 10, 3, 3
PREDICTIONS, GRADIENTS, DROPOUT = Group.PREDICTIONS, Group.GRADIENTS, Group.DROPOUT
NAMES = {
    PREDICTIONS: {"probabilities", "features"},
    GRADIENTS: {"grad_sq_norm", "grad_inner"},
    DROPOUT: {"mc_probabilities"},
}
EVERY_CHOICE = [set(some) for some in chain.from_iterable(combinations(Group, size) for size in (1, 2, 3))]


@pytest.fixture(scope="module")
def _root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(tmp_path_factory.mktemp("store") / "w", COUNT, config=f"scoring: {{mc_samples: {SAMPLES}}}\n")
    add_model(root)
    return root


class Bench:
    """One workspace's store, and files made for it without any model: every value tells its sample, file and column."""

    def __init__(self, opened: Session) -> None:
        self.session = opened
        with opened.database.read() as connection:
            model = versions.newest(connection)
            self.ids = [image.sample_id for image in catalog.images(connection, "training")]
        assert model is not None
        self.model = model

    def store(self, **scoring: object) -> ScoreStore:
        with self.session.database.read() as connection:
            return ScoreStore.open(connection, self.session.workspace, self.config(**scoring), self.model)

    def config(self, **scoring: object) -> Config:
        document = self.session.config.model_dump()
        document["scoring"] |= scoring
        return Config.model_validate(document)

    def begin(self, groups: Iterable[Group] = Group, **scoring: object) -> ScoreStore:
        store = self.store(**scoring)
        store.folder.mkdir(parents=True, exist_ok=True)
        with self.session.database.write() as connection:
            return store.begin(connection, store.settings(set(groups)), 4)

    def add(self, ordinal: int, rows: Sequence[int], groups: Iterable[Group], name: str = "") -> ScoreFile:
        """Write and record a file of the samples ``rows``."""
        groups = frozenset(groups)
        contents = frozenset(str(group) for group in groups)
        name = name or f"shard-{ordinal:05d}-{'-'.join(sorted(contents))}.safetensors"
        file, store = ScoreFile(ordinal, name, contents, len(rows), 0.5), self.store()
        write_shard(store.path(file), self.columns(rows, groups), ShardMetadata(self.model.version, 4))
        with self.session.database.write() as connection:
            store.record(connection, file)
        return file

    def columns(self, rows: Sequence[int], groups: Iterable[Group]) -> dict[str, NDArray[Any]]:
        number = np.array(rows, np.float64)
        every = {
            "probabilities": np.stack([number] * CLASSES, axis=1).astype(np.float32),
            "features": np.stack([number + 0.5] * 2, axis=1).astype(np.float32),
            "grad_sq_norm": number + 100,
            "grad_inner": number - 100,
            "mc_probabilities": np.tile(number[:, None, None], (1, SAMPLES, CLASSES)).astype(np.float16),
        }
        wanted = set().union(*(NAMES[group] for group in groups))
        ids = digests([self.ids[row] for row in rows])
        return {"digest": ids} | {name: every[name] for name in every if name in wanted}

    def missing(self, groups: Iterable[Group], **scoring: object) -> list[str]:
        store = self.store(**scoring)
        with self.session.database.read() as connection:
            return [image.sample_id for image in store.missing(connection, set(groups))]

    def without(self, rows: Iterable[int]) -> list[str]:
        """Ids of all samples but ``rows``."""
        return [name for row, name in enumerate(self.ids) if row not in set(rows)]


@pytest.fixture
def bench(_root: Path, tmp_path: Path) -> Iterator[Bench]:
    shutil.copytree(_root, tmp_path / "w")
    with session(tmp_path / "w") as opened:
        yield Bench(opened)


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip_last(path: Path) -> None:
    """Change one value so that only reading the whole file shows it."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


# What is wanted -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "scoring", "expected"),
    [
        ([], {}, {PREDICTIONS}),
        (["features"], {}, {PREDICTIONS}),
        (["probabilities", "features"], {}, {PREDICTIONS}),
        (["grad_inner"], {}, {PREDICTIONS, GRADIENTS}),
        (["grad_sq_norm", "probabilities"], {}, {PREDICTIONS, GRADIENTS}),
        (["mc_probabilities"], {}, {PREDICTIONS, DROPOUT}),
        (["mc_probabilities"], {"mc_samples": 0}, {PREDICTIONS}),
        (["mc_probabilities", "grad_inner"], {"mc_samples": 0}, {PREDICTIONS, GRADIENTS}),
        (["sketch"], {}, {PREDICTIONS}),
        (["sketch", "grad_inner"], {}, {PREDICTIONS}),
        (["sketch"], {"sketch": 8}, {PREDICTIONS, GRADIENTS}),
        (["mc_probabilities", "sketch"], {"sketch": 8}, set(Group)),
    ],
)
def test_columns_need_their_groups_and_predictions(
    bench: Bench, columns: list[str], scoring: dict[str, object], expected: set[Group]
) -> None:
    assert bench.store(**scoring).groups_for(columns) == expected


def test_sketches_that_are_there_can_be_read_though_none_are_asked_for_any_more(bench: Bench) -> None:
    bench.begin(sketch=8)
    assert bench.store(sketch=0).groups_for(["sketch"]) == {PREDICTIONS, GRADIENTS}


# What is missing ------------------------------------------------------------------------------------------------------


def test_before_anything_is_scored_everything_is_missing(bench: Bench) -> None:
    store = bench.store()
    assert (store.recorded, store.micro_batch, store.shards, store.files) == (None, None, (), [])
    for groups in EVERY_CHOICE:
        assert bench.missing(groups) == bench.ids
        assert store.valid(groups) == frozenset()
        assert store.table(groups) is None
    bench.begin()
    assert bench.store().table(set(Group)) is None, "a table without shards"
    assert bench.missing({PREDICTIONS}) == bench.ids


def test_predictions_first_then_gradients(bench: Bench) -> None:
    bench.begin({PREDICTIONS})
    bench.add(0, [0, 1, 2, 3], {PREDICTIONS})
    assert bench.missing({PREDICTIONS}) == bench.ids[4:]
    bench.add(1, [4, 5, 6, 7, 8, 9], {PREDICTIONS})
    assert bench.missing({PREDICTIONS}) == []
    assert bench.missing({PREDICTIONS, GRADIENTS}) == bench.missing({GRADIENTS}) == bench.ids
    before = bench.store()
    bench.begin({PREDICTIONS, GRADIENTS})
    assert bench.store().files == before.files, "nothing is forgotten"
    bench.add(1, [4, 5, 6, 7, 8, 9], {GRADIENTS})
    assert bench.missing({GRADIENTS}) == bench.missing({PREDICTIONS, GRADIENTS}) == bench.ids[:4]
    bench.add(0, [0, 1, 2, 3], {GRADIENTS})
    assert bench.missing({PREDICTIONS, GRADIENTS}) == []
    assert bench.missing(set(Group)) == bench.ids, "dropout samples have not been asked for yet"
    store = bench.store()
    assert [(shard.ordinal, shard.samples, shard.groups) for shard in store.shards] == [
        (ordinal, samples, {PREDICTIONS, GRADIENTS}) for ordinal, samples in ((0, 4), (1, 6))
    ]
    assert len(store.files) == 4


@pytest.mark.parametrize("seed", range(6))
def test_what_is_missing_is_what_no_intact_shard_has(bench: Bench, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bench.begin()
    rows = rng.permutation(COUNT)[: rng.integers(5, COUNT + 1)].tolist()
    held: dict[int, set[Group]] = {row: set() for row in range(COUNT)}
    present: list[tuple[set[int], set[Group]]] = []
    for ordinal, some in enumerate(np.array_split(rows, 3)):
        groups = [group for group in Group if rng.random() < 0.7] or [PREDICTIONS]
        apart = bool(rng.random() < 0.5)
        for part in [{group} for group in groups] if apart else [set(groups)]:
            file = bench.add(ordinal, some.tolist(), part)
            if rng.random() < 0.2:
                damage(bench.store().path(file))
            else:
                for row in some.tolist():
                    held[row] |= part
        present.append((set(some.tolist()), set(groups)))
    for groups in EVERY_CHOICE:
        assert bench.missing(groups) == [bench.ids[row] for row in range(COUNT) if not groups <= held[row]]
        table, store = bench.store().table(groups), bench.store()
        whole = [ordinal for ordinal, here in enumerate(present) if here[1] >= groups] or list(range(len(present)))
        shared = groups.intersection(*(present[ordinal][1] for ordinal in whole))
        if not shared:
            assert table is None
            continue
        assert table is not None
        damaged = any(file.ordinal in whole and set(map(Group, file.contents)) & shared for file in store.damaged())
        names = sorted(set().union(*(NAMES[group] for group in shared)))
        if damaged:
            with pytest.raises(DalcliError, match="cannot use this score file"):
                list(table.blocks(names))
            continue
        assert table.layout.keys() - {"digest"} == set(names)
        blocks = list(table.blocks(names, 200))
        parts = np.array_split(rows, 3)
        order = [row for ordinal in whole for row in parts[ordinal].tolist()]
        expected = bench.columns(order, shared)
        np.testing.assert_array_equal(np.concatenate([block.digests for block in blocks]), expected["digest"])
        for name in names:
            np.testing.assert_array_equal(np.concatenate([block[name] for block in blocks]), expected[name])


def test_samples_set_aside_or_added_since(bench: Bench) -> None:
    bench.begin({PREDICTIONS})
    bench.add(0, list(range(8)), {PREDICTIONS})
    with bench.session.database.write() as connection:
        keys = catalog.keys_by_id(connection)
        catalog.quarantine(connection, {keys[bench.ids[9]]: "gone", keys[bench.ids[2]]: "gone"})
    assert bench.missing({PREDICTIONS}) == [bench.ids[8]]


# What invalidates columns ---------------------------------------------------------------------------------------------

FULL = TableSettings(
    pixels="p",
    gradients=GradientSettings(sketch=8, sketch_seed=3, prescreen=0.5, gamma=1.0),
    dropout=DropoutSettings(samples=4, seed=5),
)


def changed(group: str, **values: object) -> TableSettings:
    """``FULL`` with other settings of one group."""
    made = FULL.gradients if group == "gradients" else FULL.dropout
    assert made is not None
    return FULL.model_copy(update={group: made.model_copy(update=values)})


@pytest.mark.parametrize(
    ("wanted", "reasons"),
    [
        (changed("gradients", sketch=9), {GRADIENTS: "sketches of 8 numbers, and scoring.sketch asks for 9"}),
        (changed("gradients", prescreen=0.75), {GRADIENTS: "only 0.5 of the pool .* scoring.prescreen asks for 0.75"}),
        (changed("gradients", prescreen=1.0), {GRADIENTS: "scoring.prescreen asks for 1"}),
        (changed("dropout", samples=5), {DROPOUT: "4 dropout samples, and scoring.mc_samples asks for 5"}),
        (changed("gradients", sketch=0, sketch_seed=0), {}),
        (changed("gradients", sketch_seed=4), {}),
        (changed("gradients", prescreen=0.25), {}),
        (changed("gradients", gamma=2.0), {}),
        (changed("dropout", samples=3), {}),
        (changed("dropout", seed=6), {}),
        (FULL.model_copy(update={"gradients": None}), {}),
        (FULL.model_copy(update={"dropout": None}), {}),
    ],
)
def test_shortcomings_say_which_setting_asks_for_more(wanted: TableSettings, reasons: Mapping[Group, str]) -> None:
    found = FULL.shortcomings(wanted)
    assert found.keys() == reasons.keys()
    assert all(re.search(reason, found[group]) for group, reason in reasons.items())
    assert FULL.extended(wanted).shortcomings(wanted) == {}, "once made, they serve"


def test_no_sketches_are_called_so() -> None:
    plain = FULL.model_copy(update={"gradients": GradientSettings()})
    assert "the scores have no sketches" in plain.shortcomings(FULL)[GRADIENTS]


@pytest.mark.parametrize(
    ("before", "now", "lost"),
    [
        ({}, {"sketch": 8}, {GRADIENTS}),
        ({"sketch": 8}, {"sketch": 9}, {GRADIENTS}),
        ({"sketch": 8}, {"sketch": 0}, set()),
        ({"prescreen": 0.5}, {"prescreen": 0.6}, {GRADIENTS}),
        ({"prescreen": 0.5}, {"prescreen": 0.4}, set()),
        ({}, {"prescreen": 0.4}, set()),
        ({}, {"mc_samples": SAMPLES + 1}, {DROPOUT}),
        ({}, {"mc_samples": SAMPLES - 1}, set()),
        ({}, {"mc_samples": SAMPLES + 1, "sketch": 3}, {DROPOUT, GRADIENTS}),
        ({}, {"precision": "bfloat16"}, set(Group)),
    ],
)
def test_only_columns_that_do_not_serve_are_missing_and_forgotten(
    bench: Bench, before: dict[str, object], now: dict[str, object], lost: set[Group]
) -> None:
    bench.begin(**before)
    bench.add(0, list(range(6)), {PREDICTIONS})
    bench.add(0, list(range(6)), {GRADIENTS, DROPOUT})
    bench.add(1, list(range(6, COUNT)), set(Group))
    for group in Group:
        assert bench.missing({group}, **before) == []
        assert bench.missing({group}, **now) == (bench.ids if group in lost else [])
    assert bench.store(**now).valid(set(Group)) == set(Group) - lost
    after = bench.begin(**now)
    assert [shard.groups for shard in after.shards] == ([] if lost == set(Group) else [set(Group) - lost] * 2)
    assert after.recorded is not None
    assert after.recorded.shortcomings(wanted_settings(bench.config(**now), bench.model, set(Group))) == {}
    assert after.settings(set(Group)) == after.recorded


@pytest.mark.parametrize("groups", [{PREDICTIONS}, {PREDICTIONS, GRADIENTS}, {PREDICTIONS, DROPOUT}, set(Group)])
def test_settings_of_groups_that_nobody_asked_for_are_not_made_up(bench: Bench, groups: set[Group]) -> None:
    settings = bench.store().settings(groups)
    assert settings.groups == groups
    bench.begin(groups)
    assert bench.store().settings({PREDICTIONS}) == settings, "what is there stays"
    assert bench.store().settings(set(Group)).groups == set(Group)


# What is damaged, or to be forgotten ----------------------------------------------------------------------------------


@pytest.fixture
def whole(bench: Bench) -> Bench:
    """Shard 0: predictions, and the rest added; shard 1: all in one file; shard 2: predictions alone."""
    bench.begin()
    bench.add(0, [0, 1, 2], {PREDICTIONS}, "a")
    bench.add(0, [0, 1, 2], {GRADIENTS, DROPOUT}, "b")
    bench.add(1, [3, 4, 5], set(Group), "c")
    bench.add(2, [6, 7, 8, 9], {PREDICTIONS}, "d")
    return bench


def contents(store: ScoreStore) -> dict[str, set[str]]:
    return {file.file: set(file.contents) for file in store.files}


ALL = {"predictions", "gradients", "dropout"}
WHOLE = {"a": {"predictions"}, "b": {"gradients", "dropout"}, "c": ALL, "d": {"predictions"}}


@pytest.mark.parametrize("harm", [Path.unlink, damage, flip_last])
@pytest.mark.parametrize("victims", [["a"], ["b"], ["c", "d"]])
def test_every_kind_of_damage_is_found(whole: Bench, harm: Any, victims: list[str]) -> None:
    store = whole.store()
    assert (store.damaged(), contents(store)) == ([], WHOLE)
    for name in victims:
        harm(store.folder / name)
    assert [file.file for file in store.damaged()] == victims
    kept = store.without(store.damaged())
    assert contents(kept) == {name: held for name, held in WHOLE.items() if name not in victims}
    assert kept.damaged() == []


def test_a_file_that_is_not_what_was_recorded_is_damaged(whole: Bench) -> None:
    store = whole.store()
    fewer = whole.columns([3, 4], set(Group))
    other = whole.columns([6, 7, 8, 9], {PREDICTIONS})
    write_shard(store.folder / "a", whole.columns([0, 1, 2], {GRADIENTS}), ShardMetadata(whole.model.version, 4))
    write_shard(store.folder / "c", fewer, ShardMetadata(whole.model.version, 4))
    write_shard(store.folder / "d", other, ShardMetadata("m-9999", 4))
    assert [file.file for file in store.damaged()] == ["a", "c", "d"]


def test_a_store_without_a_group_or_files_is_recorded_as_such(whole: Bench) -> None:
    store = whole.store()
    narrowed = store.without_group(GRADIENTS)
    assert contents(narrowed) == {**WHOLE, "b": {"dropout"}, "c": {"predictions", "dropout"}}
    assert contents(store.without_group(PREDICTIONS)) == {"b": WHOLE["b"], "c": {"gradients", "dropout"}}
    assert contents(narrowed.without_group(DROPOUT)) == {"a": {"predictions"}, "c": {"predictions"}, "d": WHOLE["d"]}
    assert contents(store) == contents(whole.store()) == WHOLE, "values"
    assert store.without([]) == store
    with whole.session.database.write() as connection:
        assert store.become(connection, narrowed) is narrowed
    assert contents(whole.store()) == contents(narrowed)
    assert whole.missing({GRADIENTS}) == whole.ids
    assert whole.missing({PREDICTIONS}) == []
    assert whole.missing({DROPOUT}) == whole.ids[6:]


def test_columns_that_no_longer_count_are_trimmed_away(whole: Bench) -> None:
    store = whole.store()
    untouched = {name: (store.folder / name).read_bytes() for name in "ad"}
    with whole.session.database.write() as connection:
        store.become(connection, store.without_group(GRADIENTS))
    narrowed = whole.store()
    expected = {name: ShardFile(store.folder / name).read(("mc_probabilities",)) for name in "bc"}
    narrowed.trim()
    assert narrowed.damaged() == []
    layouts = {name: ShardFile(store.folder / name).header.layout.keys() - {"digest"} for name in "bc"}
    assert layouts == {"b": NAMES[DROPOUT], "c": NAMES[DROPOUT] | NAMES[PREDICTIONS]}
    for name, arrays in expected.items():
        found = ShardFile(store.folder / name).read(("mc_probabilities",))
        np.testing.assert_array_equal(found["mc_probabilities"], arrays["mc_probabilities"])
    assert {name: (store.folder / name).read_bytes() for name in untouched} == untouched


def test_columns_made_again_replace_those_that_lie_beside_them(whole: Bench) -> None:
    store = whole.store()
    with whole.session.database.write() as connection:
        store.become(connection, store.without_group(GRADIENTS))
    new = whole.columns([3, 4, 5], {GRADIENTS})
    new["grad_inner"] = new["grad_inner"] + 0.25
    file = replace(store.shards[1].files[0], file="c-gradients", contents=frozenset({"gradients"}))
    write_shard(store.path(file), new, ShardMetadata(whole.model.version, 4))
    with whole.session.database.write() as connection:
        store.record(connection, file)
    again = whole.store()
    found = again.shard(again.shards[1], set(Group)).read(("grad_inner", "probabilities", "mc_probabilities"))
    np.testing.assert_array_equal(found["grad_inner"], new["grad_inner"])
    np.testing.assert_array_equal(found["probabilities"], whole.columns([3, 4, 5], {PREDICTIONS})["probabilities"])


def test_the_table_has_shards_with_all_that_is_read_or_else_what_every_shard_has(whole: Bench) -> None:
    full = whole.store().table(set(Group))
    assert full is not None
    complete = [shard for shard in whole.store().shards if shard.groups == set(Group)]
    assert 0 < len(complete) < len(whole.store().shards)
    assert full.layout.keys() == {"digest", *(name for group in Group for name in NAMES[group])}
    assert len(full) == sum(shard.samples for shard in complete)
    shared = whole.store().table({PREDICTIONS})
    assert shared is not None
    assert len(shared) == COUNT
    with pytest.raises(DalcliError, match="no column 'grad_inner'"):
        shared.lookup(digests(whole.ids[:1]), ("grad_inner",))

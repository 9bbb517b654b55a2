"""The score store: which columns exist for which samples of one model version. Never imports torch.

The first file of this room to read. Folder and rows behind one door: whoever wants scores asks a :class:`ScoreStore`
what is missing and reads its table; whoever makes scores (the holder of the compute lock) begins, extends and records.
A *shard* is a fixed list of samples. Its files hold groups of columns (``columns.Group``), and a group that is asked
for later is added to the same shards, in files of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dalcli.config.schema import Config
from dalcli.data.identity import digests
from dalcli.errors import DalcliError
from dalcli.scores.cached_features import CachedFeatures
from dalcli.scores.columns import COLUMNS, DIGEST, Digests, Group, groups_of
from dalcli.scores.samples import SampleSet
from dalcli.scores.settings import TableSettings, pixels_fingerprint, wanted_settings
from dalcli.scores.table import Part, ScoreTable, Shard, ShardFile, write_shard
from dalcli.state import catalog, scores
from dalcli.state.catalog import PoolImage
from dalcli.state.database import Connection
from dalcli.state.scores import ScoreFile, TableRow
from dalcli.state.versions import ModelVersion
from dalcli.state.workspace import Workspace

LABELED_GRADIENT_NAME = "labeled_gradient.safetensors"


@dataclass(frozen=True)
class StoredShard:
    """One list of samples with the files that hold its columns."""

    ordinal: int
    files: tuple[ScoreFile, ...]

    @property
    def groups(self) -> frozenset[Group]:
        """What is there."""
        return frozenset(Group(name) for file in self.files for name in file.contents)

    @property
    def samples(self) -> int:
        return self.files[0].samples


@dataclass(frozen=True)
class ScoreStore:
    """The score table of ``model``, as it stood when it was opened.

    Attributes:
        recorded: what the table was made with; None: there is none yet, or none for this model and these pixels.
        micro_batch: how many images were scored at once; None like ``recorded``.
        shards: its complete shards, by ordinal.
        features: where they are, of a version that is the head of a frozen network; else they are in the shards.
    """

    workspace: Workspace
    config: Config
    model: ModelVersion
    recorded: TableSettings | None
    micro_batch: int | None
    shards: tuple[StoredShard, ...] = ()
    features: CachedFeatures | None = None

    @classmethod
    def open(cls, connection: Connection, workspace: Workspace, config: Config, model: ModelVersion) -> ScoreStore:
        """Read the rows; a table that was made for other pixels is as good as none."""
        row, features = scores.table(connection, model.key), CachedFeatures.of(workspace, config, model)
        recorded = None if row is None else TableSettings.parse(row.settings)
        if row is None or recorded is None or recorded.pixels != pixels_fingerprint(config, model):
            return cls(workspace, config, model, None, None, features=features)
        shards = _shards(scores.files(connection, model.key))
        return cls(workspace, config, model, recorded, row.micro_batch, shards, features)

    # What there is ----------------------------------------------------------------------------------------------------

    @property
    def pixels(self) -> str:
        """A fingerprint of what the model is and sees today; see ``settings``."""
        return pixels_fingerprint(self.config, self.model)

    @property
    def files(self) -> list[ScoreFile]:
        """All complete files, shard by shard."""
        return [file for shard in self.shards for file in shard.files]

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self.workspace.score_folder(self.model.version)

    @property
    def labeled_gradient_path(self) -> Path:
        """Where G_S is kept beside the shards (as tensors, which this room does not read)."""
        return self.folder / LABELED_GRADIENT_NAME

    def path(self, file: ScoreFile) -> Path:
        return self.folder / file.file

    def groups_for(self, columns: Collection[str]) -> frozenset[Group]:
        """What has to be there for whoever reads ``columns``, and for the pseudo-labels beside a choice.

        Of columns that exist only where the configuration asks for them, and it does not, nothing can be made: whoever
        reads them will say so.
        """
        made = None if self.recorded is None else self.recorded.gradients
        groups = groups_of(columns)
        if "sketch" in columns and not self.config.scoring.sketch and (made is None or not made.sketch):
            groups -= {Group.GRADIENTS}
        if not self.config.scoring.mc_samples and (self.recorded is None or self.recorded.dropout is None):
            groups -= {Group.DROPOUT}
        return groups | {Group.PREDICTIONS}

    def settings(self, groups: Collection[Group]) -> TableSettings:
        """What to make ``groups`` with: as they were made before if that serves, even if less would do by now."""
        wanted = wanted_settings(self.config, self.model, groups)
        return wanted if self.recorded is None else self.recorded.extended(wanted)

    def valid(self, groups: Collection[Group]) -> frozenset[Group]:
        """Those of ``groups`` whose stored columns serve what the configuration asks for."""
        if self.recorded is None:
            return frozenset()
        again = self.recorded.shortcomings(wanted_settings(self.config, self.model, groups))
        return frozenset(groups) & (self.recorded.groups - again.keys())

    def table(self, groups: Collection[Group]) -> ScoreTable | None:
        """The table with ``groups``: of the shards that have all of them, or else with those that every shard has.

        None without any shard or group. Where nothing is :meth:`missing`, shards that lack a group hold nobody who can
        be chosen.
        """
        whole = [shard for shard in self.shards if shard.groups >= set(groups)] or self.shards
        shared = frozenset(groups)
        for shard in whole:
            shared &= shard.groups
        if not whole or not shared:
            return None
        return ScoreTable([self.shard(shard, shared) for shard in whole])

    def shard(self, stored: StoredShard, groups: Collection[Group]) -> Shard:
        """One shard, for reading ``groups``."""
        kept = [(file, {Group(name) for name in file.contents} & set(groups)) for file in stored.files]
        features = self.features if Group.PREDICTIONS in groups else None
        return Shard([Part(self.path(file), counted) for file, counted in kept if counted], features)

    # What is missing --------------------------------------------------------------------------------------------------

    def missing(self, connection: Connection, groups: Collection[Group]) -> list[PoolImage]:
        """Readable training samples that lack one of ``groups``, in the order of sample ids.

        Files that were deleted or cannot be opened do not count: deleting ``scores/`` loses nothing but time.
        """
        ids = catalog.readable_ids(connection, "training")
        done = self._done(ids, groups)
        if done.all():  # the usual case, and a light one however large the pool
            return []
        wanted = {ids[place] for place in np.flatnonzero(~done)}
        return [image for image in catalog.images(connection, "training") if image.sample_id in wanted]

    def complete(self, connection: Connection, groups: Collection[Group]) -> bool:
        """Whether nothing is :meth:`missing`, without listing what is."""
        return self.count_missing(connection, groups) == 0

    def count_missing(self, connection: Connection, groups: Collection[Group]) -> int:
        """How many are :meth:`missing`, without listing them: much lighter where the pool is large."""
        return int((~self._done(catalog.readable_ids(connection, "training"), groups)).sum())

    def _done(self, ids: Sequence[str], groups: Collection[Group]) -> NDArray[np.bool_]:
        """Which of the samples have all of ``groups``, (n,)."""
        return self._complete(groups).contains(digests(ids))

    def _complete(self, groups: Collection[Group]) -> SampleSet:
        """The samples that have all of ``groups``."""
        if self.valid(groups) != frozenset(groups):
            return SampleSet.EMPTY
        found = [content for shard in self.shards if (content := self._content(shard, groups)) is not None]
        if not found:
            return SampleSet.EMPTY
        joined = np.concatenate(found)
        return SampleSet(joined if self.features is None else joined[self.features.holds(joined)])

    def _content(self, stored: StoredShard, groups: Collection[Group]) -> Digests | None:
        """Whose columns a shard holds; None if one of ``groups`` is not there, or a file cannot be opened."""
        if not stored.groups >= set(groups):
            return None
        content: Digests | None = None
        for file in stored.files:
            if not file.contents & set(groups):
                continue
            try:
                content = ShardFile(self.path(file)).read((DIGEST,))[DIGEST]
            except DalcliError:  # missing or damaged: as if it had never been written
                return None
        return content

    # What to go on with -----------------------------------------------------------------------------------------------

    def damaged(self) -> list[ScoreFile]:
        """Files that are not as they were written; reads all of them."""
        return [file for file in self.files if not self._is_intact(file)]

    def _is_intact(self, file: ScoreFile) -> bool:
        try:
            stored = ShardFile(self.path(file))
            for block in stored.blocks(list(stored.header.layout)):
                if self.features is not None and Group.PREDICTIONS in file.contents:
                    self.features.read(block.digests)
            holds = groups_of(stored.header.layout)
            expected = (file.samples, self.model.version)
            return (stored.header.rows, stored.header.metadata.model_version) == expected and holds >= file.contents
        except DalcliError:
            return False

    def without(self, gone: Collection[ScoreFile]) -> ScoreStore:
        """This store as if some files had never been there."""
        return self._with([file for file in self.files if file not in gone])

    def without_group(self, group: Group) -> ScoreStore:
        """This store as if a group had never been there, in any shard."""
        narrowed = (replace(file, contents=file.contents - {group}) for file in self.files)
        return self._with([file for file in narrowed if file.contents])

    def serving(self, settings: TableSettings) -> ScoreStore:
        """This store without the groups that were made otherwise than ``settings`` say."""
        if self.recorded is None:
            return self
        kept = self
        if self.recorded.gradients != settings.gradients:
            kept = kept.without_group(Group.GRADIENTS)
        if self.recorded.dropout != settings.dropout:
            kept = kept.without_group(Group.DROPOUT)
        return kept

    def _with(self, files: Sequence[ScoreFile]) -> ScoreStore:
        return replace(self, shards=_shards(files))

    # For the holder of the compute lock -------------------------------------------------------------------------------

    def become(self, connection: Connection, other: ScoreStore) -> ScoreStore:
        """Record that only what ``other``, made from this store, still has is there; returns it."""
        scores.replace(connection, self.model.key, self.files, other.files)
        return other

    def begin(self, connection: Connection, settings: TableSettings, micro_batch: int) -> ScoreStore:
        """Be ready to make columns with ``settings``; the store as it is then.

        A table for other pixels is forgotten. Groups that have to be made again are, in every shard; others stay.
        """
        if self.recorded is None:
            scores.begin(connection, self.model.key, TableRow(micro_batch, settings.text()))
        elif self.recorded != settings:
            self.become(connection, self.serving(settings))
            scores.change(connection, self.model.key, settings.text())
        return self.open(connection, self.workspace, self.config, self.model)

    def trim(self) -> None:
        """Free the disk of columns that no longer count in the files that hold them."""
        for file in self.files:
            stored = ShardFile(self.path(file))
            kept = [name for name in stored.header.layout if COLUMNS[name].group in {None, *file.contents}]
            if len(kept) < len(stored.header.layout):
                write_shard(stored.path, stored.read(kept), stored.header.metadata)

    def record(self, connection: Connection, file: ScoreFile) -> None:
        """A complete file of this table."""
        scores.add(connection, self.model.key, file)


def _shards(files: Iterable[ScoreFile]) -> tuple[StoredShard, ...]:
    """Files in the order of their shards, by shard."""
    return tuple(StoredShard(ordinal, tuple(some)) for ordinal, some in groupby(files, key=lambda file: file.ordinal))

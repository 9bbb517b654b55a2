"""Every kind of source, on files of exactly the format it reads."""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torchvision
import workspaces
from dalcli_runner import ok
from PIL import Image

from dalcli.config.schema import Config
from dalcli.errors import BadInputError, DalcliError
from dalcli.feedback import SilentFeedback
from dalcli.simulation.dataset import examine, listing_digest, read, write
from dalcli.simulation.schema import SourceConfig
from dalcli.simulation.sources.base import LabeledImage
from dalcli.simulation.sources.caltech101 import Caltech101
from dalcli.simulation.sources.cifar10 import Cifar10
from dalcli.simulation.sources.digits import Digits
from dalcli.simulation.sources.folder import Folder
from dalcli.simulation.sources.manifest import Manifest
from dalcli.simulation.sources.registry import placed, source_of
from dalcli.simulation.sources.svhn import Svhn
from dalcli.simulation.sources.workspace import ExistingWorkspace


def at(kind: str, path: Path, **keys: object) -> SourceConfig:
    return SourceConfig.model_validate({"kind": kind, "path": path, "download": False, **keys})


def classes(folder: Path, names: str, count: int = 2, first: int = 0) -> Path:
    for place, name in enumerate(names.split()):
        workspaces.photos(folder / name, count, first + place * count)
    return folder


def test_folder_with_and_without_a_test_folder(tmp_path: Path) -> None:
    train, test = classes(tmp_path / "train", "cat dog"), classes(tmp_path / "test", "cat dog", 1, 50)
    alone = Folder().find(at("folder", train))
    assert [(i.path.parent.name, i.label, i.split) for i in alone] == [
        ("cat", "cat", None), ("cat", "cat", None), ("dog", "dog", None), ("dog", "dog", None),
    ]  # fmt: skip
    both = Folder().find(at("folder", train, test=test))
    assert [i.split for i in both] == ["training"] * 4 + ["evaluation"] * 2
    workspaces.image(train / "stray.png", 99)
    with pytest.raises(BadInputError, match=r"1 image is in no class folder, e\.g\. stray\.png"):
        Folder().find(at("folder", train))
    with pytest.raises(BadInputError, match="no such folder"):
        Folder().find(at("folder", tmp_path / "nowhere"))


def test_manifest_leaves_out_rows_without_a_label(tmp_path: Path) -> None:
    workspaces.photos(tmp_path, 3)
    manifest = tmp_path / "list.csv"
    manifest.write_text("path,label,split\n0.png,cat,train\n1.png,,train\n2.png,dog,test\n")
    found = Manifest().find(at("manifest", manifest))
    assert [(i.path.name, i.label, i.split) for i in found] == [
        ("0.png", "cat", "training"), ("2.png", "dog", "evaluation"),
    ]  # fmt: skip
    manifest.write_text("path\n0.png\n")
    with pytest.raises(BadInputError, match="no row has a label"):
        Manifest().find(at("manifest", manifest))


def test_workspace_gives_its_labels_and_its_test_set(tmp_path: Path) -> None:
    root = workspaces.make(tmp_path / "w", 4)
    with pytest.raises(BadInputError, match="no training sample is labeled"):
        ExistingWorkspace().find(at("workspace", root))
    (root / "l.csv").write_text("path,label\nphotos/0.png,cat\nphotos/2.png,dog\n")
    ok(root, "ingest-labels", "l.csv")
    found = ExistingWorkspace().find(at("workspace", root))
    assert sorted((i.path.name, i.label, i.split) for i in found) == [("0.png", "cat", None), ("2.png", "dog", None)]
    ok(root, "pool", "add", "--test", str(classes(tmp_path / "test", "cat dog", 1, 70)))
    found = ExistingWorkspace().find(at("workspace", root))
    assert [i.split for i in found] == ["training"] * 2 + ["evaluation"] * 2
    assert all(i.path.is_file() for i in found)


def test_digits_are_scikit_learns() -> None:
    images = list(Digits().images(SourceConfig(kind="digits")))
    assert len({image.name for image in images}) == 1797
    assert {image.label for image in images} == set("0123456789")
    assert images[0].pixels.tolist()[0] == [0, 0, 80, 207, 143, 16, 0, 0]  # 0 0 5 13 9 1 0 0 of 16


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module, source, kind in (("sklearn.datasets", Digits(), "digits"), ("scipy.io", Svhn(), "svhn")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(DalcliError, match=rf"source {kind}: .* is not installed\ninstall it: pip install"):
            list(source.images(at(kind, tmp_path)))  # type: ignore[attr-defined]


def _pickled(path: Path, content: dict[str, object]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def test_cifar10_in_torchvisions_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    folder = tmp_path / "cifar-10-batches-py"
    rows = {name: random.integers(0, 256, (3, 3072), dtype=np.uint8) for name in ("data_batch_1", "test_batch")}
    sums = {name: _pickled(folder / name, {"data": data, "labels": [2, 0, 1]}) for name, data in rows.items()}
    meta = _pickled(folder / "batches.meta", {"label_names": ["airplane", "automobile", "bird"]})
    real = torchvision.datasets.CIFAR10
    monkeypatch.setattr(real, "train_list", [["data_batch_1", sums["data_batch_1"]]])
    monkeypatch.setattr(real, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(real, "meta", {**real.meta, "md5": meta})
    images = list(Cifar10().images(at("cifar10", tmp_path)))
    assert [(i.name, i.label, i.split) for i in images[2:4]] == [
        ("training-00002", "automobile", "training"), ("evaluation-00000", "bird", "evaluation"),
    ]  # fmt: skip
    planes = rows["data_batch_1"][1].reshape(3, 32, 32)  # the format's: all of red, of green, of blue
    assert np.array_equal(images[1].pixels, np.moveaxis(planes, 0, 2))
    (folder / "test_batch").unlink()
    with pytest.raises(DalcliError, match="cifar10: the data set is not complete in"):
        list(Cifar10().images(at("cifar10", tmp_path)))


def test_svhn_in_torchvisions_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    splits = dict(torchvision.datasets.SVHN.split_list)
    pixels = {}
    for name in ("train", "test"):
        pixels[name] = random.integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
        file = tmp_path / f"{name}_32x32.mat"
        scipy.io.savemat(file, {"X": pixels[name], "y": np.array([[10], [1], [2], [10]], dtype=np.uint8)})
        checksum = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        splits[name] = [splits[name][0], file.name, checksum]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", splits)
    images = list(Svhn().images(at("svhn", tmp_path)))
    assert [i.label for i in images] == ["0", "1", "2", "0"] * 2  # the files call the digit 0 "10"
    assert [i.split for i in images] == ["training"] * 4 + ["evaluation"] * 4
    assert np.array_equal(images[6].pixels, pixels["test"][..., 2])


def test_caltech101_in_its_own_folders(tmp_path: Path) -> None:
    folder = tmp_path / "caltech101" / "101_ObjectCategories"
    for number, name in enumerate(("accordion", "BACKGROUND_Google", "yin_yang")):
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (30, 20), (number, 9, 9)).save(folder / name / "image_0001.jpg")
    found = Caltech101().find(at("caltech101", tmp_path))
    assert [(i.path.name, i.label) for i in found] == [("image_0001.jpg", "accordion"), ("image_0001.jpg", "yin_yang")]
    with pytest.raises(DalcliError, match="caltech101: the data set is not complete in"):
        Caltech101().find(at("caltech101", tmp_path / "elsewhere"))


def test_kinds_and_their_keys_are_checked(tmp_path: Path) -> None:
    def refusal(**keys: object) -> str:
        with pytest.raises(BadInputError) as caught:
            source_of(SourceConfig.model_validate(keys), "here")
        return str(caught.value)

    assert refusal(kind="cifar11").startswith("here: unknown kind 'cifar11': did you mean 'cifar10'?")
    assert "folder needs a path" in refusal(kind="folder")
    assert "here.test: means nothing for manifest" in refusal(kind="manifest", path="a", test="b")
    moved = placed(SourceConfig(kind="folder", path=Path("a"), test=Path("/b")), tmp_path)
    assert (moved.path, moved.test) == (tmp_path / "a", Path("/b"))
    assert Config().model_dump()  # the schema next door stays independent of this one


class Warnings(SilentFeedback):
    def __init__(self) -> None:
        self.said: list[str] = []

    def warn(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def labeled(tmp_path: Path) -> Callable[..., LabeledImage]:
    def make(name: str, number: int, label: str, split: str | None = None) -> LabeledImage:
        return LabeledImage(workspaces.image(tmp_path / name, number), label, split)  # type: ignore[arg-type]

    return make


def test_same_bytes_are_one_sample_and_contradictions_nobodys(
    tmp_path: Path, labeled: Callable[..., LabeledImage]
) -> None:
    images = [
        labeled("a.png", 1, "cat"), labeled("b.png", 1, "cat", "evaluation"), labeled("c.png", 2, "cat"),
        labeled("d.png", 2, "dog"), labeled("e.png", 3, "dog"), LabeledImage(tmp_path / "gone.png", "dog"),
    ]  # fmt: skip
    feedback = Warnings()
    dataset = examine(images, "x", feedback)
    assert sorted((s.path.name, s.label, s.split) for s in dataset.samples) == [
        ("b.png", "cat", "evaluation"), ("e.png", "dog", None),
    ]  # fmt: skip
    assert feedback.said == [
        "x: 1 image cannot be read: it is left out",
        "x: 1 image carries different labels under two names: it is left out",
    ]


def test_list_comes_back_as_it_was_and_knows_when_files_change(
    tmp_path: Path, labeled: Callable[..., LabeledImage]
) -> None:
    images = [labeled("a, b.png", 1, "cat"), labeled("c.png", 2, 'd"og', "training")]
    dataset = examine(images, "x", SilentFeedback())
    write(tmp_path / "samples.csv", dataset)
    again = read(tmp_path / "samples.csv")
    assert (again, again.digest) == (dataset, dataset.digest)
    before = listing_digest(images)
    assert before == listing_digest(images)
    labeled("c.png", 3, 'd"og')
    assert listing_digest([*images[:1], LabeledImage(images[1].path, "other")]) != before
    with pytest.raises(BadInputError, match="at least two"):
        examine(images[:1], "x", SilentFeedback())

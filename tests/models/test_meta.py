"""meta.json: round trip, and refusal of what is not one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from dalcli.models.meta import EpochRecord, ModelMeta, read_meta, to_json, write_meta
from dalcli.models.preprocess import PixelStats
from dalcli.models.spec import ModelSpec
from dalcli.models.tensorfile import DamagedFileError

META = ModelMeta(
    version="v2",
    parent="v1",
    spec=ModelSpec("resnet18", 2, (32, 48), stem="small", dropout=0.1, weights="w.safetensors"),
    classes=("Käse", "no"),
    pixel_stats=PixelStats((0.1, 0.2, 1 / 3), (0.1, 0.2, 0.3)),
    seed=2**63 - 1,
    threads=2,
    device="cpu",
    config_fingerprint="c",
    torch_version="2.4",
    labels_digest="d",
    labels=10,
    epochs=2,
    converged=False,
    stopped="max_epochs",
    train_accuracy=0.1 + 0.2,
    train_loss=1e-300,
    history=(EpochRecord(1, 1e-3, 0.7, 0.6, 0.5), EpochRecord(2, 1e-3, 0.1, 0.2, 0.3)),
)


def test_round_trip_is_exact_and_readable(tmp_path: Path) -> None:
    write_meta(tmp_path / "meta.json", META)
    assert read_meta(tmp_path / "meta.json") == META
    assert "Käse" in (tmp_path / "meta.json").read_text(encoding="utf-8")


def test_a_file_from_before_there_were_ranks_was_written_by_one(tmp_path: Path) -> None:
    document = json.loads(to_json(dataclasses.replace(META, ranks=3)))
    assert document.pop("ranks") == 3
    (tmp_path / "meta.json").write_text(json.dumps(document))
    assert read_meta(tmp_path / "meta.json") == META


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("classes"), "classes"),
        (lambda d: d["spec"].update(image_size="big"), "spec.image_size"),
        (lambda d: d.update(stopped="bored"), "stopped"),
        (lambda d: d.update(format=99), "format 99"),
        (lambda d: d.pop("format"), "format"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: object, message: str) -> None:
    document = json.loads(to_json(META))
    change(document)  # type: ignore[operator]
    path = tmp_path / "meta.json"
    path.write_text(json.dumps(document))
    with pytest.raises(DamagedFileError, match=message) as caught:
        read_meta(path)
    assert str(path) in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", to_json(META).encode()[:-40]])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "meta.json").write_bytes(content)
    with pytest.raises(DamagedFileError):
        read_meta(tmp_path / "meta.json")
    with pytest.raises(DamagedFileError, match="does not exist"):
        read_meta(tmp_path / "none.json")

"""Files of weights: exact, deterministic, atomic, and refused when damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dalcli.errors import DalcliError
from dalcli.models import zoo
from dalcli.models.checkpoint import load_model, save_model
from dalcli.models.spec import ModelSpec
from dalcli.models.tensorfile import DamagedFileError, read_tensors, write_tensors


@pytest.mark.parametrize("name", ["cnn", "resnet18", "mnasnet0_5", "shufflenet_v2_x0_5"])
def test_weights_and_buffers_survive_bit_for_bit(tmp_path: Path, name: str) -> None:
    spec = ModelSpec(name, 3, (32, 32))
    model, other = zoo.build(spec, 1), zoo.build(spec, 2)
    model.train()(torch.randn(4, 3, 32, 32))
    save_model(tmp_path / "m.safetensors", model)
    load_model(tmp_path / "m.safetensors", other)
    state = other.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 4)
        self.two.weight = self.one.weight
        base = torch.randn(6, 8)
        self.register_buffer("view", base[1:3])
        self.register_buffer("turned", base.T)
        self.register_buffer("none", torch.zeros(0, 3))
        self.register_buffer("count", torch.tensor(7))


def test_tied_overlapping_transposed_and_empty_tensors_survive(tmp_path: Path) -> None:
    model, other = Tied(), Tied()
    save_model(tmp_path / "m.safetensors", model)
    load_model(tmp_path / "m.safetensors", other)
    assert other.two.weight is other.one.weight
    state = other.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6).reshape(2, 3).T, "a": torch.ones(2, dtype=torch.float16)}
    for name, order in (("x", "ab"), ("y", "ba")):
        metadata = dict.fromkeys(order, 1)
        write_tensors(tmp_path / name, {key: tensors[key] for key in order}, metadata)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    read, metadata = read_tensors(tmp_path / "x")
    assert metadata == {"a": 1, "b": 1}
    assert {key: tensor.dtype for key, tensor in read.items()} == {"a": torch.float16, "b": torch.int64}
    assert torch.equal(read["b"], tensors["b"])


def damage(data: bytes, kind: str) -> bytes:
    if kind == "flipped bit":
        return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
    return {"truncated": data[: len(data) // 2], "empty": b"", "header": b"\xff" * 16 + data[16:], "text": b"hello"}[
        kind
    ]


@pytest.mark.parametrize("kind", ["truncated", "empty", "header", "text", "flipped bit"])
def test_damage_is_noticed_and_the_file_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.safetensors"
    model = zoo.build(ModelSpec("cnn", 3, (8, 8)), 1)
    save_model(path, model)
    path.write_bytes(damage(path.read_bytes(), kind))
    with pytest.raises(DamagedFileError, match=r"model\.safetensors") as caught:
        load_model(path, model)
    assert caught.value.remedy


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    model = zoo.build(ModelSpec("cnn", 3, (8, 8)), 1)
    with pytest.raises(DamagedFileError, match="does not exist"):
        load_model(tmp_path / "none", model)
    save_file(dict(model.state_dict()), tmp_path / "foreign")
    with pytest.raises(DamagedFileError, match="not written by dalcli"):
        load_model(tmp_path / "foreign", model)
    save_model(tmp_path / "other", zoo.build(ModelSpec("cnn", 4, (8, 8)), 1))
    with pytest.raises(DalcliError, match=r"another model: head\.bias, head\.weight"):
        load_model(tmp_path / "other", model)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.safetensors"
    write_tensors(path, {"a": torch.zeros(1)})
    before = path.read_bytes()

    def full(tensors: dict[str, Tensor], file: Path, metadata: dict[str, str]) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dalcli.models.tensorfile.save_file", full)
    with pytest.raises(OSError, match="No space"):
        write_tensors(path, {"a": torch.ones(1)})
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


class Extra(nn.Linear):
    def get_extra_state(self) -> object:
        return {"not": "a tensor"}


def test_state_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DalcliError, match="_extra_state"):
        save_model(tmp_path / "m", Extra(2, 2))

"""Files of somebody else's weights: what is read, what is refused, and that nothing in them is run."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from permissions import only_readable
from safetensors.torch import save_file
from torch import Tensor, nn

from dalcli.errors import BadInputError
from dalcli.models import weights_reader


def tensors() -> OrderedDict[str, Tensor]:
    torch.manual_seed(0)
    return OrderedDict([("z.weight", torch.randn(3, 2)), ("a.bias", torch.randn(3)), ("a.count", torch.tensor(4))])


def read(path: Path) -> weights_reader.State:
    return weights_reader.read(path, pickled=True)


def assert_same(found: weights_reader.State, expected: OrderedDict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_torch_save_keep_their_order(tmp_path: Path, suffix: str, zipped: bool) -> None:
    path = tmp_path / f"w{suffix}"
    torch.save(tensors(), path, _use_new_zipfile_serialization=zipped)
    assert_same(read(path), tensors())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda s: {"model": {f"module.{name}": t for name, t in s.items()}},
        lambda s: {"epoch": 3, "model": {"state_dict": s}},
        lambda s: {f"module._orig_mod.{name}": t for name, t in s.items()},
        lambda s: {"model_state_dict": dict(s)},
    ],
)
def test_wrappers_and_prefixes_are_removed(tmp_path: Path, wrap: Any) -> None:
    torch.save(wrap(tensors()), tmp_path / "w.pth")
    assert_same(read(tmp_path / "w.pth"), tensors())


def test_safetensors_are_read_alike(tmp_path: Path) -> None:
    save_file({f"module.{name}": tensor for name, tensor in tensors().items()}, tmp_path / "w.safetensors")
    found = weights_reader.read(tmp_path / "w.safetensors")
    assert {name: t.tolist() for name, t in found.items()} == {name: t.tolist() for name, t in tensors().items()}


class Trap:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("sprung",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_never_run(tmp_path: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a.weight": torch.zeros(1), "trap": Trap()}, "w.pth", _use_new_zipfile_serialization=zipped)
    Path("bare.pth").write_bytes(pickle.dumps(Trap()))
    for name in ("w.pth", "bare.pth"):
        with pytest.raises(BadInputError, match=r"model\.weights: .*"):
            read(Path(name))
    assert not Path("sprung").exists()
    pickle.loads(Path("bare.pth").read_bytes())
    assert Path("sprung").exists(), "the trap would not have sprung"


def test_a_whole_model_is_refused_with_what_to_do(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 3), tmp_path / "w.pth")
    with pytest.raises(BadInputError, match="more than tensors") as caught:
        read(tmp_path / "w.pth")
    assert "model.state_dict()" in (caught.value.remedy or "")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3, "args": {"lr": 0.1}}, torch.zeros(3), {}, {"state_dict": {}}])
def test_files_without_a_table_of_tensors_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(BadInputError, match="no table of named tensors"):
        read(tmp_path / "w.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_is_cut_short_anywhere_is_refused(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "w.pth"
    torch.save(tensors(), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for length in {0, 1, 10, len(whole) // 2, len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(BadInputError, match="cannot be read"):
            read(path)


def test_other_files_are_refused_by_their_name(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="does not exist"):
        read(tmp_path / "w.pth")
    torch.save(tensors(), tmp_path / "w.pth")
    with pytest.raises(BadInputError, match=r"not a \.safetensors file"):
        weights_reader.read(tmp_path / "w.pth")
    (tmp_path / "w.onnx").write_bytes(b"x")
    with pytest.raises(BadInputError, match="neither"):
        read(tmp_path / "w.onnx")


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """torch itself reads such a file without a word."""
    path = tmp_path / "w.pth"
    torch.save({"a.weight": torch.zeros(4096)}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["a.weight"].abs().max() > 0
    with pytest.raises(BadInputError, match="checksum"):
        read(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        (lambda: torch.ones(3, 2, dtype=torch.int64), "int64"),
        (lambda: torch.ones(3, 2, dtype=torch.bool), "bool"),
        (lambda: torch.ones(3, 2, dtype=torch.complex64), "complex64"),
        (lambda: torch.quantize_per_tensor(torch.ones(3, 2), 0.1, 0, torch.qint8), "quantized"),
        (lambda: torch.ones(3, 2).to_sparse(), "sparse"),
        (lambda: torch.empty(3, 2, device="meta"), "empty"),
    ],
)
def test_what_are_no_plain_weights_is_refused(tmp_path: Path, tensor: Callable[[], Tensor], kind: str) -> None:
    torch.save({"a.weight": tensor()}, tmp_path / "w.pth")
    with pytest.raises(BadInputError, match=rf"a\.weight is {kind}, where a network has floating point numbers"):
        read(tmp_path / "w.pth")


def test_tables_of_places_may_be_whole_numbers(tmp_path: Path) -> None:
    torch.save({"a.relative_position_index": torch.arange(4), "a.weight": torch.ones(2)}, tmp_path / "w.pth")
    assert read(tmp_path / "w.pth")["a.relative_position_index"].dtype == torch.int64


def test_a_folder_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "w.pth").mkdir()
    with pytest.raises(BadInputError, match="is a folder"):
        read(tmp_path / "w.pth")


def test_what_may_not_be_read_says_so(tmp_path: Path) -> None:
    torch.save(tensors(), tmp_path / "w.pth")
    with only_readable(tmp_path):
        (tmp_path / "w.pth").chmod(0)
        with pytest.raises(BadInputError, match="Permission denied") as caught:
            read(tmp_path / "w.pth")
    assert caught.value.remedy == "Check its permissions."

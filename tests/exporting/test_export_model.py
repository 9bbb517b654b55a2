"""``export-model``: what the folder's programs print, in processes that cannot import dalcli, against float64."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from dalcli.exporting import check, forms
from tests import processes
from tests.frozen_pools import make_frozen_pool, network
from tests.processes import SignalAtCall
from tests.scoring.test_score_oracle import Oracle
from tests.small_pools import CLASSES, SmallPool, copied, make_pool

ABSENT = "import runpy, sys; sys.modules.update(dict.fromkeys({absent})); sys.path.insert(0, {folder!r}); "
RUN = "sys.argv = [{program!r}, *sys.argv[1:]]; runpy.run_path({program!r}, run_name='__main__')"
needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript or onnxruntime is not installed (pip install 'dalcli[onnx]')",
)


def printed(folder: Path, form: str, paths: list[Path], absent: tuple[str, ...] = ("dalcli",)) -> list[dict[str, Any]]:
    """What an example prints where ``absent`` cannot be imported."""
    program = str(folder / f"example_{form}.py")
    code = (ABSENT + RUN).format(absent=absent, folder=str(folder), program=program)
    ended = subprocess.run(
        [sys.executable, "-P", "-B", "-c", code, *map(str, paths)], cwd="/", capture_output=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr.decode()
    return [json.loads(line) for line in ended.stdout.decode().splitlines()]


def probabilities(rows: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    return np.array([row["probabilities"] for row in rows])


def oracle(pool: SmallPool, paths: list[Path], temperature: float = 1.0) -> np.ndarray[Any, Any]:
    """Probabilities of the whole-trained ``cnn`` in float64, one image at a time."""
    found = Oracle.of(pool)
    rows = torch.stack([found.gradient(path, None)[1] for path in paths])
    return (rows.log() / temperature).softmax(1).numpy()


def paths_of(pool: SmallPool) -> list[Path]:
    return [pool.path(row) for row in pool.pool()]


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("out"))


def test_tensors_and_graph_say_what_float64_says(trained: SmallPool, tmp_path: Path) -> None:
    paths = paths_of(trained)
    for form, name in (("safetensors", "safetensors"), ("torch-export", "torch_export")):
        out = tmp_path / form
        result = trained.json("export-model", str(out), "--format", form)
        (written,) = result["forms"]
        assert (written["form"], written["images"]) == (form, 14)  # all that are labeled
        assert 0 <= written["max_difference"] <= 1e-4
        rows = printed(out, name, paths)
        expected = oracle(trained, paths)
        np.testing.assert_allclose(probabilities(rows), expected, atol=1e-5)
        assert [row["class"] for row in rows] == [CLASSES[index] for index in expected.argmax(1)]
        assert len(set(expected.argmax(1))) > 1, "one class for all would prove little"
        document = json.loads((out / "model.json").read_text())
        assert (document["classes"], document["model"], document["calibrated"]) == (list(CLASSES), "m-0001", False)
        assert document["forms"] == result["forms"]
        assert document["files"][written["file"]]["bytes"] == (out / written["file"]).stat().st_size
        assert document["preprocessing"]["mean"] == trained.meta()["pixel_stats"]["mean"]
        assert not list(out.rglob("__pycache__"))


def test_the_temperature_is_that_of_the_evaluation(tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "w", 90)
    pool.label(pool.pool()[:20])
    pool.label(pool.pool(purpose="evaluation"))
    pool.ok("train")
    temperature = pool.json("evaluate")["report"]["temperature"]["value"]
    assert abs(temperature - 1) > 0.01
    result = pool.json("export-model", str(tmp_path / "out"), "--format", "torch-export")
    assert (result["temperature"], result["calibrated"]) == (temperature, True)
    paths = paths_of(pool)
    rows = printed(tmp_path / "out", "torch_export", paths)
    np.testing.assert_allclose(probabilities(rows), oracle(pool, paths, temperature), atol=1e-5)


def test_merged_classes_are_added_up_and_new_ones_are_never_said(trained: SmallPool, tmp_path: Path) -> None:
    trained.ok("classes", "rename", "green", "grün")
    trained.ok("classes", "merge", "blue", "red")
    row = trained.pool("unlabeled")[0]
    trained.label([row], "violet", "--allow-new-classes")
    paths = paths_of(trained)
    for form in ("safetensors", "torch-export"):
        outcome = trained.ok("export-model", str(tmp_path / form), "--format", form, "--json")
        assert json.loads(outcome.out)["classes"] == ["red", "grün"]
        assert "newer than model m-0001: dalcli train" in outcome.err
        rows = printed(tmp_path / form, form.replace("-", "_"), paths)
        expected = oracle(trained, paths)
        np.testing.assert_allclose(probabilities(rows)[:, 0], expected[:, 0] + expected[:, 2], atol=1e-5)
        np.testing.assert_allclose(probabilities(rows)[:, 1], expected[:, 1], atol=1e-5)
        assert json.loads((tmp_path / form / "model.json").read_text())["unknown_classes"] == ["violet"]
        assert "violet" in (tmp_path / form / "README.md").read_text(encoding="utf-8")


def test_a_frozen_network_of_ones_own_and_its_head_become_one_graph(tmp_path: Path) -> None:
    pool = make_frozen_pool(tmp_path / "w")
    pool.label(pool.pool()[:15])
    pool.ok("train")
    result = pool.json("export-model", str(tmp_path / "out"))
    assert [form["form"] for form in result["forms"]] == ["torch-export"]
    head, frozen = load_file(pool.version() / "model.safetensors"), network().double()
    paths = paths_of(pool)
    mean, std = torch.tensor([0.485, 0.456, 0.406]).double(), torch.tensor([0.229, 0.224, 0.225]).double()
    expected = []
    for path in paths:
        large = Image.open(path).convert("RGB")  # data.image_size: 8, as large as they are
        pixels = (torch.from_numpy(np.array(large)).double() / 255 - mean) / std
        with torch.no_grad():
            features = frozen[:4](pixels.permute(2, 0, 1)[None])
        entering = (features - head["centre"].double()) * head["factor"].double()
        logits = entering @ head["linear.weight"].double().T + head["linear.bias"].double()
        expected.append(logits.softmax(1)[0].numpy())
    np.testing.assert_allclose(probabilities(printed(tmp_path / "out", "torch_export", paths)), expected, atol=1e-4)
    refused = pool.run("export-model", str(tmp_path / "out2"), "--format", "safetensors")
    assert refused.code == 3
    assert "no library builds tinynet:network" in refused.err
    assert "--format torch-export" in refused.err
    assert leftovers(tmp_path) == ["out"]


@needs_onnx
def test_onnx_needs_neither_torch_nor_dalcli(trained: SmallPool, tmp_path: Path) -> None:
    result = trained.json("export-model", str(tmp_path / "out"), "--format", "all")
    assert [form["form"] for form in result["forms"]] == ["safetensors", "torch-export", "onnx"]
    paths = paths_of(trained)
    rows = printed(tmp_path / "out", "onnx", paths, absent=("dalcli", "torch", "torchvision"))
    np.testing.assert_allclose(probabilities(rows), oracle(trained, paths), atol=1e-5)


@needs_onnx
def test_onnx_takes_any_number_of_images_and_names_that_axis(trained: SmallPool, tmp_path: Path) -> None:
    import onnxruntime

    trained.ok("export-model", str(tmp_path / "out"), "--format", "onnx")
    network = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    (images,) = network.get_inputs()
    assert (images.name, images.shape[0]) == ("images", "batch")
    assert [(found.name, found.shape) for found in network.get_outputs()] == [
        ("logits", ["batch", len(CLASSES)]),
        ("probabilities", ["batch", len(CLASSES)]),
    ]
    for count in (1, 3):
        given = np.zeros((count, *images.shape[1:]), np.float32)
        assert network.run(["probabilities"], {"images": given})[0].shape == (count, len(CLASSES))


def test_onnx_without_its_packages_names_the_extra(
    trained: SmallPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dalcli.exporting.request.find_spec", lambda name: None if name == "onnx" else name)
    refused = trained.run("export-model", str(tmp_path / "out"), "--format", "onnx")
    assert refused.code == 5
    assert "pip install 'dalcli[onnx]'" in refused.err
    assert leftovers(tmp_path) == []


def test_a_form_that_says_something_else_is_not_handed_over(
    trained: SmallPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slightly_wrong(model: nn.Module) -> dict[str, torch.Tensor]:
        state = dict(model.state_dict())
        return {name: tensor + 0.01 if name == "head.bias" else tensor for name, tensor in state.items()} | {
            "head.weight": state["head.weight"] * 1.01
        }

    monkeypatch.setattr(forms, "tensor_state", slightly_wrong)
    failed = trained.run("export-model", str(tmp_path / "out"))
    assert failed.code == 1
    assert "differ from dalcli's by up to" in failed.err
    assert leftovers(tmp_path) == []
    monkeypatch.setattr(check, "TOLERANCE", 1.0)
    trained.ok("export-model", str(tmp_path / "out"))


def test_numbers_that_are_none_are_no_agreement(
    trained: SmallPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        forms, "tensor_state", lambda model: {name: t * float("nan") for name, t in model.state_dict().items()}
    )
    failed = trained.run("export-model", str(tmp_path / "out"))
    assert (failed.code, leftovers(tmp_path)) == (1, [])


BRANCHING = """
from torch import nn


class Branching(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.last = nn.Linear(3, num_classes)

    def forward(self, images):
        means = images.mean((2, 3))
        return self.last(means if float(means.sum()) > 0 else -means)


def network(num_classes, image_size):
    return Branching(num_classes)
"""


def test_a_network_that_is_no_graph_is_refused_clearly(tmp_path: Path) -> None:
    root = tmp_path / "w"
    root.mkdir()
    (root / "branching.py").write_text(BRANCHING)
    pool = make_pool(root, 12, model={"name": "branching:network", "dropout": 0}, evaluation={"reserve": 0})
    pool.label(pool.pool()[:6])
    pool.ok("train")
    refused = pool.run("export-model", str(tmp_path / "out"))
    assert refused.code == 3
    assert "torch.export cannot take branching:network" in refused.err
    assert leftovers(tmp_path) == []


def test_a_second_run_finds_it_there(trained: SmallPool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = trained.ok("export-model", str(out))
    stamp = (out / "model.safetensors").stat().st_mtime_ns
    second = trained.ok("export-model", str(out))
    assert first.out == second.out
    assert "up to date" in second.err
    assert (out / "model.safetensors").stat().st_mtime_ns == stamp
    refused = trained.run("export-model", str(out), "--format", "torch-export")
    assert refused.code == 3
    assert "--force" in refused.err
    assert (out / "model.safetensors").stat().st_mtime_ns == stamp
    trained.ok("export-model", str(out), "--format", "torch-export", "--force")
    assert not (out / "model.safetensors").exists()
    (out / "model.pt2").write_bytes(b"damaged")
    assert trained.run("export-model", str(out), "--format", "torch-export").code == 3
    trained.ok("export-model", str(out), "--format", "torch-export", "--force")
    assert len(printed(out, "torch_export", paths_of(trained)[:1])) == 1
    assert leftovers(tmp_path) == ["out"]


def test_what_is_not_ours_is_never_replaced(trained: SmallPool, tmp_path: Path) -> None:
    holiday = tmp_path / "holiday"
    holiday.mkdir()
    (holiday / "model.json").write_text("{}")
    file = tmp_path / "file"
    file.write_text("mine")
    inside = trained.root / ".dalcli" / "models" / "out"
    for place, word in (
        (holiday, "not an export of dalcli"),
        (file, "is a file"),
        (file / "out", "no such folder"),
        (tmp_path / "nowhere" / "out", "no such folder"),
        *([(Path("/proc/out"), "cannot be written to")] if Path("/proc").is_dir() else []),
        (inside, "dalcli's own"),
    ):
        refused = trained.run("export-model", str(place), "--force")
        assert (refused.code, word in refused.err) == (3, True), refused
    assert [path.name for path in holiday.iterdir()] == ["model.json"]
    assert file.read_text() == "mine"
    assert not inside.exists()
    (tmp_path / "empty").mkdir()
    trained.ok("export-model", str(tmp_path / "empty"))


def test_the_example_says_how_it_is_used_and_names_a_broken_image(trained: SmallPool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    trained.ok("export-model", str(out), "--format", "safetensors")
    (tmp_path / "broken.png").write_bytes(b"no image")
    program = [sys.executable, str(out / "example_safetensors.py")]
    bare = subprocess.run(program, capture_output=True, text=True, check=False)
    assert bare.returncode == 1 and "example_safetensors.py IMAGE ..." in bare.stderr
    broken = subprocess.run([*program, "broken.png"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert broken.returncode == 1 and broken.stderr.splitlines()[-1].startswith("ValueError: broken.png: ")


def test_misuse(labeled: SmallPool, trained: SmallPool, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    refused = labeled.run("export-model", out)
    assert (refused.code, "dalcli train" in refused.err) == (5, True)
    refused = trained.run("export-model", out, "--model", "m-0002")
    assert (refused.code, "known: m-0001" in refused.err) == (2, True)
    refused = trained.run("export-model", out, "--format", "safetensor")
    assert (refused.code, "did you mean 'safetensors'" in refused.err) == (2, True)
    shutil.rmtree(trained.root / "photos")
    refused = trained.run("export-model", out)
    assert (refused.code, "none of the labeled images can be read" in refused.err) == (5, True)
    weights = trained.version() / "model.safetensors"
    weights.unlink()
    refused = trained.run("export-model", out)
    assert (refused.code, str(weights) in refused.err) == (1, True)
    assert leftovers(tmp_path) == []


def test_killed_it_leaves_what_was_there(trained: SmallPool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    trained.ok("export-model", str(out))
    before = (out / "model.json").read_bytes()
    killed = processes.run(
        trained,
        ["export-model", str(out), "--format", "torch-export", "--force"],
        SignalAtCall("dalcli.exporting.check:max_difference"),
    )
    assert killed.code == -9
    assert (out / "model.json").read_bytes() == before
    assert leftovers(tmp_path) == ["out", "out.partial"]
    trained.ok("export-model", str(out), "--format", "torch-export", "--force")
    assert leftovers(tmp_path) == ["out"]
    out.rename(tmp_path / "out.replaced")  # as if killed between the two renames
    assert "up to date" in trained.ok("export-model", str(out), "--format", "torch-export").err
    assert leftovers(tmp_path) == ["out"]


ODD = """
import json, sys
import numpy as np
sys.modules["dalcli"] = None
sys.path.insert(0, sys.argv[1])
from preprocessing import to_input
np.save(sys.argv[2], to_input(sys.argv[4:], json.loads(sys.argv[3])))
"""


def test_files_of_every_kind_are_decoded_as_dalcli_does(trained: SmallPool, tmp_path: Path) -> None:
    from dalcli.data.decoding import decode
    from dalcli.models.preprocess import PixelStats, to_input

    out = tmp_path / "out"
    trained.ok("export-model", str(out))
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (900, 1201, 4)).astype(np.uint8)
    photo = Image.fromarray(noise[..., :3]).resize((1201, 900)).resize((120, 90)).resize((1201, 900))
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(noise[:70, :50]).save(tmp_path / "transparent.png")
    photo.convert("P").save(tmp_path / "palette.gif")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    paths = [str(tmp_path / name) for name in ("turned.jpg", "transparent.png", "palette.gif", "deep.png")]
    for recipe in (
        {"image_size": [24, 16], "resize": "crop", "crop_fraction": 0.875, "interpolation": "bicubic"},
        {"image_size": [8, 8], "resize": "pad", "crop_fraction": 1.0, "interpolation": "bilinear"},
    ):
        stats = PixelStats((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))
        document = {**recipe, "alpha_background": [9, 200, 3], "mean": stats.mean, "std": stats.std}
        target = tmp_path / "seen.npy"
        program = [sys.executable, "-P", "-B", "-c", ODD, str(out), str(target), json.dumps(document), *paths]
        subprocess.run(program, check=True, timeout=120)
        pixels = [decode(Path(path), alpha_background=(9, 200, 3), **recipe) for path in paths]  # type: ignore[arg-type]
        expected = to_input(np.stack(pixels), stats, torch.device("cpu"))
        np.testing.assert_array_equal(np.load(target), expected.numpy())


def test_a_copy_of_the_workspace_exports_the_same(trained: SmallPool, tmp_path: Path) -> None:
    other = copied(trained, tmp_path / "elsewhere")
    trained.ok("export-model", str(tmp_path / "out"))
    other.ok("export-model", str(tmp_path / "out-2"))
    one, two = ((tmp_path / name / "model.json").read_bytes() for name in ("out", "out-2"))
    assert one == two
    assert str(tmp_path).encode() not in one


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed (pip install 'dalcli[timm]')")
@pytest.mark.parametrize(("name", "theirs"), [("timm:test_resnet", "test_resnet"), ("resnet18", "resnet18")])
def test_timm_and_transformers_load_the_hf_folder(tmp_path: Path, name: str, theirs: str) -> None:
    import timm
    from safetensors.torch import save_file

    root = tmp_path / "w"
    root.mkdir()
    save_file(timm.create_model(theirs).state_dict(), root / "tiny.safetensors")
    model = {"name": name, "train": "head", "weights": "tiny.safetensors", "dropout": 0}
    pool = make_pool(root, 90, model=model, data={"image_size": 32})
    pool.label(pool.pool()[:20])
    pool.label(pool.pool(purpose="evaluation"))
    pool.ok("train")
    temperature = pool.json("evaluate")["report"]["temperature"]["value"]
    result = pool.json("export-model", str(tmp_path / "out"), "--hf", "--format", "torch-export")
    assert [form["form"] for form in result["forms"]] == ["torch-export", "hf"]
    paths = paths_of(pool)
    graph = printed(tmp_path / "out", "torch_export", paths)
    np.testing.assert_allclose(probabilities(printed(tmp_path / "out", "hf", paths)), probabilities(graph), atol=1e-5)
    images = torch.randn(3, 3, 32, 32)
    loaded = timm.create_model(f"local-dir:{tmp_path / 'out' / 'hf'}", pretrained=True).eval()
    with torch.no_grad():
        logits = torch.export.load(tmp_path / "out" / "model.pt2").module()(images)[0] / temperature
        torch.testing.assert_close(loaded(images), logits, rtol=1e-4, atol=1e-4)
    assert loaded.pretrained_cfg["label_names"] == list(CLASSES)
    if find_spec("transformers") is not None:
        from transformers import AutoModelForImageClassification

        wrapped = AutoModelForImageClassification.from_pretrained(tmp_path / "out" / "hf").eval()
        assert list(wrapped.config.id2label.values()) == list(CLASSES)
        with torch.no_grad():
            torch.testing.assert_close(wrapped(images).logits, logits, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed (pip install 'dalcli[timm]')")
def test_hf_is_refused_where_timm_has_no_such_network(trained: SmallPool, tmp_path: Path) -> None:
    refused = trained.run("export-model", str(tmp_path / "out"), "--hf")
    assert (refused.code, "timm has no network with the tensors of cnn" in refused.err) == (3, True)
    trained.ok("classes", "merge", "blue", "red")
    refused = trained.run("export-model", str(tmp_path / "out"), "--hf")
    assert (refused.code, "classes were merged" in refused.err, leftovers(tmp_path)) == (3, True, [])

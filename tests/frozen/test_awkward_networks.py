"""Networks of the user's own that talk, fail, change, overflow or look at their neighbours: told, and nothing lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from tests.frozen_pools import frozen_settings, make_frozen_pool, network, write_settings
from tests.small_pools import CLASSES, SmallPool

HEADER = """
import torch
from torch import nn


def layers(num_classes):
    return [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, num_classes)]


class Net(nn.Sequential):
    def forward(self, images):
        AWKWARD
        return super().forward(images)


def network(num_classes, image_size):
    return Net(*layers(num_classes))


network.recipe = {"crop_fraction": 1.0}
"""


def awkward(root: Path, line: str, **settings: object) -> SmallPool:
    """A pool whose network does ``line`` first, whenever it sees images; its module is new to this process."""
    pool = make_frozen_pool(root)
    name = f"awkward_{root.name}".replace("-", "_").replace("[", "_").replace("]", "")
    write_code(root, name, line)
    sys.modules.pop(name, None)
    write_settings(pool, model={"name": f"{name}:network"}, **settings)  # type: ignore[arg-type]
    return pool


def write_code(root: Path, name: str, line: str) -> None:
    (root / f"{name}.py").write_text(HEADER.replace("AWKWARD", line))


def test_what_it_prints_is_no_data(tmp_path: Path) -> None:
    pool = awkward(tmp_path / "talks", "print('looking at', len(images))")
    with (tmp_path / "talks" / "awkward_talks.py").open("a") as file:
        file.write("print('imported')\n")
    found = pool.ok("query", "--budget", "4")
    assert found.out.startswith("sample_id,")
    assert len(found.out.splitlines()) == 5
    assert "imported" in found.err and "looking at 32" in found.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("assert len(images) < 32, 'too many'", "AssertionError: too many (awkward_fails.py, line 12)"),
        ("{}['width'] if len(images) > 31 else 0", "KeyError: 'width' (awkward_fails.py, line 12)"),
        ("if len(images) > 31: raise SystemExit(3)", "SystemExit: 3 (awkward_fails.py, line 12)"),
        ("raise RuntimeError('never')", "RuntimeError: never (awkward_fails.py, line 12)"),
    ],
)
def test_what_it_raises_is_its_own_error(tmp_path: Path, line: str, said: str) -> None:
    pool = awkward(tmp_path / "fails", line)
    failed = pool.run("query", "--budget", "4")
    assert failed.code == 3
    assert f"model.name: awkward_fails:network failed: {said}" in failed.err
    assert failed.out == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("images = images - images.mean(0)", "depends on the other images of its batch"),
        ("images = images * (2 if images.sum() > 0 else 1)", "depends on the other images of its batch"),
        ("images = images / 0", "features that are no numbers"),
    ],
)
def test_what_cannot_be_used_is_not_adopted(tmp_path: Path, line: str, said: str) -> None:
    refused = awkward(tmp_path / "refused", line).run("query", "--budget", "4")
    assert refused.code == 3
    assert said in refused.err
    assert refused.out == ""


def test_the_same_features_for_everything_are_told_of(tmp_path: Path) -> None:
    found = awkward(tmp_path / "dead", "images = images * 0").ok("query", "--budget", "4")
    assert "the same features for any image" in found.err


def test_other_code_with_the_same_tensors_is_noticed(tmp_path: Path) -> None:
    root = tmp_path / "changes"
    pool = awkward(root, "images = images * 1")
    pool.ok("query", "--budget", "4")
    Image.new("RGB", (8, 8), (9, 8, 7)).save(root / "photos" / "red-99.png")
    pool.ok("pool", "add", str(root / "photos"))
    write_code(root, "awkward_changes", "images = images * 2")
    sys.modules.pop("awkward_changes")
    pool.ok("batch", "release", "b-0001")
    changed = pool.run("query", "--budget", "5", "--new")
    assert changed.code == 1
    assert "its code has changed" in changed.err
    write_code(root, "awkward_changes", "images = images * 1 + 0")
    sys.modules.pop("awkward_changes")
    pool.ok("query", "--budget", "5", "--new")


def test_an_image_without_usable_features_is_set_aside(tmp_path: Path) -> None:
    """What overflows for one image in fifty is that image's problem, and no label is bought for it."""
    root = tmp_path / "overflows"
    pool = awkward(root, "images = images / (images.mean((1, 2, 3), keepdim=True) < 2.2).float()")
    Image.new("RGB", (8, 8), (255, 255, 255)).save(root / "photos" / "red-99.png")
    pool.ok("pool", "add", str(root / "photos"))
    found = pool.ok("query", "--budget", "5")
    assert "1 image can no longer be read" in found.err
    assert "NaN or infinite" in pool.ok("pool", "quarantine").out
    assert "red-99.png" not in found.out


def test_features_that_a_half_does_not_hold_name_the_key(tmp_path: Path) -> None:
    pool = awkward(tmp_path / "large", "images = images * 1e6", data={"features": "float16"})
    refused = pool.run("query", "--budget", "4")
    assert refused.code == 3
    assert "data.features: float16 does not hold the features" in refused.err
    assert "RuntimeWarning" not in refused.err
    write_settings(pool, model={"name": "awkward_large:network"}, data={"features": "float32"})
    pool.ok("query", "--budget", "4")


def test_a_variance_of_nothing_is_refused_at_init(tmp_path: Path) -> None:
    from tests.small_pools import draw

    root = tmp_path / "nothing"
    (root / "photos").mkdir(parents=True)
    for index in range(6):
        draw(root / "photos" / f"{CLASSES[index % 3]}-{index}.png", CLASSES[index % 3], index)
    code = HEADER.replace("nn.ReLU()", "nn.BatchNorm2d(6, eps=0)").replace("AWKWARD", "pass")
    (root / "flatnet.py").write_text(code)
    state = nn.Sequential(*list(network())[:1], nn.BatchNorm2d(6, eps=0), *list(network())[2:]).state_dict()
    state["1.running_var"] = torch.zeros(6)
    save_file(state, root / "flat.safetensors")
    pool = SmallPool(root)
    write_settings(pool, **frozen_settings(model={"name": "flatnet:network", "weights": "flat.safetensors"}))
    refused = pool.run("init", str(root / "photos"), "--classes", ",".join(CLASSES))
    assert refused.code == 3
    assert "flat.safetensors of flatnet:network gives features that are no numbers" in refused.err
    assert not (root / ".dalcli").exists()

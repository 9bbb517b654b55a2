"""Images as they are on the disk, or as PNG where browsers do not know the kind; a missing one says so."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from dalcli_runner import ok
from label_pages import Reply, handed_out, serving
from PIL import Image

from dalcli.data.browsers import shown_by_browsers

KINDS = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}
OTHERS = ("TIFF", "BMP", "PPM", "TGA", "JPEG2000")


def shown(root: Path, path: Path, image: Image.Image, kind: str, **options: object) -> Reply:
    """What the page gets for one image of a pool of one."""
    root.mkdir()
    path = root / path
    image.save(path, kind, **options)
    (root / "dalcli.yaml").write_text("evaluation:\n  reserve: 0\n")
    ok(root, "init", path, "--classes", "a,b")
    ok(root, "query", "--budget", "1")
    with serving(root) as served:
        return served.get(f"image/{served.person().looking_at()}")


@pytest.mark.parametrize("kind", KINDS)
def test_what_browsers_show_is_sent_as_it_is(tmp_path: Path, kind: str) -> None:
    # The name says nothing: a PNG called .jpg is a PNG.
    reply = shown(tmp_path / "w", Path("a.jpg"), Image.new("RGB", (9, 5), (1, 2, 3)), kind)
    assert reply.headers["content-type"] == KINDS[kind]
    assert reply.body == (tmp_path / "w" / "a.jpg").read_bytes()


@pytest.mark.parametrize("kind", OTHERS)
def test_anything_else_comes_as_png_with_the_same_pixels(tmp_path: Path, kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 9, 3), dtype=np.uint8)
    options = {"irreversible": False} if kind == "JPEG2000" else {}
    name = {"JPEG2000": "a.jp2"}.get(kind, f"a.{kind.lower()}")
    reply = shown(tmp_path / "w", Path(name), Image.fromarray(pixels), kind, **options)
    assert reply.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(reply.body)) as found:
        assert (np.asarray(found) == pixels).all()


def test_a_converted_image_stands_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    reply = shown(tmp_path / "w", Path("a.tif"), Image.new("RGB", (9, 5), (1, 2, 3)), "TIFF", exif=exif)
    with Image.open(io.BytesIO(reply.body)) as found:
        assert found.size == (5, 9)


@pytest.mark.parametrize(
    ("what", "words"), [("gone", "missing"), ("other bytes", "changed"), ("a folder", "changed|directory")]
)
def test_an_image_that_is_no_more_says_so_and_can_be_skipped(tmp_path: Path, what: str, words: str) -> None:
    root = handed_out(tmp_path / "w", 1)
    path = root / ok(root, "batch", "show", "b-0001", "--csv").rows[0]["path"]
    path.unlink()
    if what == "other bytes":
        path.write_bytes(b"<script>alert(1)</script>")
    elif what == "a folder":
        path.mkdir()
    with serving(root) as served:
        ann = served.person()
        reply = served.get(f"image/{ann.looking_at()}")
        assert reply.status == 410
        assert any(word in reply.json["error"] for word in words.split("|"))
        assert ann.answer(ann.looking_at())["items"] == []


def test_a_moved_image_is_found_by_its_other_name(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 1)
    path = root / ok(root, "batch", "show", "b-0001", "--csv").rows[0]["path"]
    ok(root, "pool", "add", Path(path.rename(path.with_name("moved.png"))))
    with serving(root) as served:
        assert served.get(f"image/{served.person().looking_at()}").status == 200


def test_kinds_are_told_by_what_they_begin_with() -> None:
    assert shown_by_browsers(b"\x00\x00\x00\x20ftypavif") == "image/avif"
    assert shown_by_browsers(b"<svg xmlns=") is None
    assert shown_by_browsers(b"RIFF\x00\x00\x00\x00WAVE") is None
    assert shown_by_browsers(b"") is None

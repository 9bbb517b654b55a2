"""Whatever bytes a file has, every parser gives labels or says what is wrong and where; nothing else, and soon."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from label_exports import EXPORTS

from dalcli.data.text import TextInput
from dalcli.errors import BadInputError
from dalcli.formats.labels import LabelFile, LabelRow
from dalcli.formats.registry import AUTO, FORMATS, ReadOptions, read_labels
from dalcli.formats.source import LabelSource

FILES = sorted(path for path in EXPORTS.rglob("*") if path.is_file() and path.suffix != ".py")
SEEDS = [path.read_bytes() for path in FILES] + [
    b'sep=;\r\n"path";"label";;\r\n"a\nb.png";"caf\xc3\xa9";;\r\n',
    b"path|label|skipped\na.png|cat|0\n",
    b"\xff\xfe" + "path\tlabel\r\na.png\tcat\r\n".encode("utf-16-le"),
    b'{"path": "a.png", "label": "cat", "cost": 1.5, "seconds": "3"}\n',
]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(["a.png", "cat"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
few = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(data: bytes, name: str) -> LabelFile | None:
    """Labels, or an error that says something; a row problem names its place."""
    try:
        found = read_labels(TextInput("labels", data), name, ReadOptions())
    except BadInputError as error:
        assert "labels" in error.message
        assert len(error.message) < 2000
        return None
    assert all(isinstance(row, LabelRow) and (row.label is None or row.label) for row in found.rows)
    for row in found.rows:  # what the database and the terminal take
        for text in (row.sample_ref, row.label or "", row.annotator, *row.aliases, row.path, row.part):
            assert "\0" not in text
            text.encode()
    for problem in found.problems:
        assert re.match(r"([^,:]+, )?(line|item|row) \d+: .|\w+/[^:]+: .", str(problem)), problem
    return found


@pytest.mark.parametrize("name", [AUTO, *FORMATS])
@given(data=st.binary(max_size=200))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b"<a>" * 100_000)
@example(b'{"items": [' * 3)
@example(b"PK\x03\x04")
@few
def test_any_bytes(name: str, data: bytes) -> None:
    check(data, name)


@pytest.mark.parametrize("seed", range(len(SEEDS)))
@given(st.data())
@few
def test_exports_that_were_damaged(seed: int, data: st.DataObject) -> None:
    whole = SEEDS[seed]
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.sampled_from([start, start + 1, start + 3, len(whole)]))
    put = data.draw(
        st.sampled_from([b"", b"\0", b"\xff", b'"', b"{", b"]", b"<", b",", b"\n", b"\xef\xbb\xbf", b"1e9", b"null"])
    )
    check(whole[:start] + put + whole[end:], AUTO)


JSON_SEEDS = [
    (path.name, json.loads(line))
    for path in FILES
    if path.suffix in {".json", ".jsonl", ".ndjson", ".manifest"}
    for line in ([path.read_text()] if path.suffix == ".json" else path.read_text().splitlines()[:1])
]


@pytest.mark.parametrize("seed", range(len(JSON_SEEDS)))
@given(st.data())
@few
def test_json_in_which_anything_stands_anywhere(seed: int, data: st.DataObject) -> None:
    document = json.loads(json.dumps(JSON_SEEDS[seed][1]))
    where: object = document
    for _ in range(data.draw(st.integers(1, 7))):
        if not isinstance(where, dict | list) or not where:
            break
        key = data.draw(st.sampled_from(sorted(where) if isinstance(where, dict) else range(len(where))))
        inner = where[key]  # type: ignore[index]
        if not isinstance(inner, dict | list) or data.draw(st.booleans()):
            where[key] = data.draw(values)  # type: ignore[index]
            break
        where = inner
    check(json.dumps(document).encode(), AUTO)


@given(st.data())
@few
def test_zips_that_were_damaged(data: st.DataObject) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(EXPORTS / "documented" / "annotations.xml", "annotations.xml")
        archive.writestr("cat/a.png", b"pixels")
    whole = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(4, len(whole) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(whole), data.draw(st.sampled_from([AUTO, "imagefolder", "cvat"])))


# Too much of it


def zipped(name: str, *pieces: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as file:
        for piece in pieces:
            file.write(piece)
    return buffer.getvalue()


BOMBS = {
    "zip": (zipped("annotations.xml", *[b"<annotations>" + b" " * (1 << 23)] * 9), "would unpack to"),
    "entities": (
        b'<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]><annotations>&c;</annotations>',
        "document type declaration",
    ),
    "outside": (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotations/>', "document type declaration"),
    "deep XML": (b"<annotations>" + b"<a>" * 70, "nested more than 64 deep"),
    "long XML": (b"<annotations><image name='" + b"a" * (18 << 20), "bytes without anything to be read"),
    "long item": (b'[{"data": {"image": "' + b"a" * (18 << 20), "more than 16,777,216 characters"),
    "deep JSON": (b'[{"data": ' + b"[" * 200_000, "nested too deeply"),
    "digits": (b'[{"data": ' + b"9" * 10_000 + b"}]", "too many digits"),
    "line": (b"path,label\na.png,cat\n" + b"b" * (67 << 20), "longer than 67,108,864 characters"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused(bomb: str) -> None:
    data, says = BOMBS[bomb]
    with pytest.raises(BadInputError) as caught:
        read_labels(TextInput("labels", data))
    assert says in str(caught.value)


def test_long_files_are_read_piece_by_piece(tmp_path: Path) -> None:
    task = {"data": {"image": "é/a.png", "note": "x" * 5000}, "annotations": [], "more": [{"a": '}],"\\'}]}
    text = json.dumps([task] * 300, ensure_ascii=False, indent=1)
    path = tmp_path / "t.json"
    path.write_text(text, encoding="utf-8")
    assert [row.line for row in read_labels(LabelSource.from_path(path)).rows] == list(range(1, 301))
    path.write_text(text[:-2] + ",\n{]", encoding="utf-8")
    with pytest.raises(BadInputError) as caught:
        read_labels(LabelSource.from_path(path))
    assert f", line {text.count(chr(10)) + 1}: is not JSON" in caught.value.message

"""Every tool's own export, recorded or as its documentation shows it, and what is wrong with damaged ones."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from label_exports import EXPORTS, answers, only, read

from dalcli.data.identity import sample_id
from dalcli.errors import BadInputError

ID = f"s-{'1a' * 16}"
WHEN = "2026-11-22T15:58:14.685256+00:00"


def refusal(*arguments: object) -> str:
    with pytest.raises(BadInputError) as caught:
        read(*arguments)  # type: ignore[arg-type]
    return str(caught.value)


def write(folder: Path, name: str, content: object) -> Path:
    """A file of text, or of JSON."""
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


# Label Studio


def test_label_studio_json() -> None:
    found = read("label_studio/json_import.json")
    assert (found.format, found.unit) == ("label-studio", "item")
    assert answers(found) == [
        ("img_0.png", "cat"),
        ("img_1.png", "cat"),
        ("img_1.png", "dog"),
        ("img_2.png", "-"),
        ("img_3.png", "other, mixed"),
        ("img_3.png", "-"),
        ("img_4.png", None),
    ]
    assert [row.annotator for row in found.rows] == ["1", "1", "2", "1", "1", "2", "1"]
    first = found.rows[0]
    assert (first.line, first.seconds, first.labeled_at) == (1, 1.5, WHEN)


def test_label_studio_json_of_tasks_that_came_as_a_table() -> None:
    assert answers(read("label_studio/csv_import.json")) == [
        ("img_0.png", "cat"),
        ("img_1.png", "dog"),
        ("img_2.png", "-"),
    ]


@pytest.mark.parametrize(
    ("name", "label_format", "annotators"),
    [
        ("json_import.min.json", "label-studio-min", ["1", "2", "1", "1", "1"]),
        ("json_import.csv", "label-studio-table", ["1", "2", "1", "1", "1"]),
        ("json_import.tsv", "label-studio-table", ["1", "2", "1", "1", "1"]),
        (
            "cli_export.csv",
            "label-studio-table",
            [f"{n}@example.com" for n in ("admin", "bob", "admin", "admin", "admin")],
        ),
    ],
)
def test_label_studio_flat_exports(name: str, label_format: str, annotators: list[str]) -> None:
    found = read(f"label_studio/{name}")
    assert found.format == label_format
    assert answers(found)[:5] == [
        ("img_0.png", "cat"),
        ("img_1.png", "dog"),
        ("img_1.png", "cat"),
        ("img_3.png", "other, mixed"),
        ("img_4.png", None),
    ]
    assert [row.annotator for row in found.rows][:5] == annotators
    assert (found.rows[0].seconds, found.rows[0].labeled_at) == (1.5, WHEN)
    if name == "cli_export.csv":  # a task that nobody did
        assert answers(found)[5:] == [("img_5.png", None)]


def task(result: object = (), **annotation: object) -> dict[str, object]:
    return {"data": {"image": "a.png", "sample_id": ID}, "annotations": [{"result": list(result), **annotation}]}  # type: ignore[call-overload]


def chosen(*classes: str, control: str = "label") -> dict[str, object]:
    return {"from_name": control, "to_name": "image", "type": "choices", "value": {"choices": list(classes)}}


def test_label_studio_bad_items_are_named_and_the_others_read(tmp_path: Path) -> None:
    found = read(
        write(
            tmp_path,
            "t.json",
            [
                task([chosen("cat")], completed_by={"id": 3, "email": "ann@example.com"}),
                task([chosen("cat", "dog")]),
                task([{"type": "rectanglelabels", "value": {}}]),
                {"data": {}, "annotations": []},
                {"data": {"image": "b.png"}, "annotations": []},
                7,
                task([chosen("cat")], lead_time="long"),
                task([chosen("cat")], updated_at="yesterday"),
                task([{"type": "choices", "value": {}}]),
                task([chosen("\ud800")]),
                {"data": {"image": "c.png"}, "annotations": "none"},
            ],
        )
    )
    assert [(row.line, row.sample_ref, row.label, row.annotator) for row in found.rows] == [
        (1, ID, "cat", "ann@example.com"),
        (5, "b.png", None, ""),
    ]
    assert [str(problem) for problem in found.problems] == [
        "item 2: several classes were chosen: 'cat', 'dog'; an image has one label",
        "item 3: has results of type 'rectanglelabels'; only 'choices' are classes",
        "item 4: names no sample: neither a sample_id nor a path",
        "item 6: is a number where an object {...} is expected",
        "item 7: lead_time is not a number of at least 0",
        "item 8: updated_at 'yesterday' is not a date and time like 2030-01-31T12:00:00Z",
        "item 9: a result of type 'choices' has no list of choices",
        "item 10: the class '\\ud800' holds characters that no text has",
        "item 11: annotations is no list of objects",
    ]


def test_several_controls_are_told_apart_by_the_label_column(tmp_path: Path) -> None:
    both = [task([chosen("cat", control="animal"), chosen("sharp", control="quality")])]
    path = write(tmp_path, "t.json", both)
    message = refusal(path)
    assert "several controls could be the label: 'animal', 'quality'" in message
    assert "--label-column NAME" in message
    assert only(read(path, "auto", "quality")).label == "sharp"
    assert "none of its controls" in refusal(path, "auto", "kind")


def test_tasks_of_uploads_and_of_other_keys_are_named_by_what_looks_like_a_file(tmp_path: Path) -> None:
    data = {"title": "A cat.", "picture": "/data/upload/7/5ce10feb-img_5.png"}
    row = only(read(write(tmp_path, "t.json", [{"data": data, "annotations": []}])))
    assert row.sample_ref == "/data/upload/7/5ce10feb-img_5.png"


def test_a_flat_export_with_several_label_like_columns_or_none(tmp_path: Path) -> None:
    head = "annotation_id,annotator,lead_time,image,created_at"
    several = write(tmp_path, "t.csv", f"{head},choice,class\n1,1,2.5,a.png,,cat,dog\n")
    assert "'choice', 'class'" in refusal(several)
    assert only(read(several, "auto", "Class")).label == "dog"
    none = write(tmp_path, "n.csv", f"{head},animal\n1,1,2.5,a.png,,cat\n")
    assert "none of them named like a label" in refusal(none)
    assert only(read(none, "auto", "animal")).label == "cat"
    two = write(tmp_path, "2.csv", head + ',label\n1,1,2,a.png,,"{""choices"":[""a"",""b""]}"\n')
    assert "several classes" in str(read(two).problems[0])


# Others, as documented


def test_cvat() -> None:
    found = read("documented/annotations.xml")
    assert found.format == "cvat"
    assert [(row.line, row.sample_ref, row.label) for row in found.rows] == [
        (15, "pool/img_0.png", "cat"),
        (19, "pool/img_1.png", None),
        (23, "pool/img_2.png", None),
        (25, "img 3.png", "other, mixed"),
    ]
    assert found.notes == ('1 of its images have tags with source="auto": guesses that nobody confirmed, not read',)


def test_cvat_in_a_folder_and_in_a_zip(tmp_path: Path) -> None:
    shutil.copy(EXPORTS / "documented" / "annotations.xml", tmp_path)
    with zipfile.ZipFile(tmp_path / "job.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "annotations.xml", "annotations.xml")
        archive.writestr("images/pool/img_0.png", b"pixels")
    for path in (tmp_path, tmp_path / "job.zip"):
        found = read(path)
        assert (found.format, answers(found)) == ("cvat", answers(read("documented/annotations.xml")))
        assert {row.part for row in found.rows} == {"annotations.xml"}


def test_cvat_bad_images_are_named(tmp_path: Path) -> None:
    images = [
        "<image name='a.png'><tag label='cat'/><tag label='dog'/></image>",
        "<image><tag label='cat'/></image>",
        "<image name='b.png'><tag/></image>",
        "<image name='c.png'><tag label='cat'/><tag label='cat'/></image>",
    ]
    text = "\n".join(["<annotations>", *images, "</annotations>"])
    found = read(write(tmp_path, "a.xml", text))
    assert answers(found) == [("c.png", "cat")]
    assert [str(problem) for problem in found.problems] == [
        "line 2: several classes were chosen: 'cat', 'dog'; an image has one label",
        "line 3: <image> has no name",
        "line 4: <tag> has no label",
    ]


def test_datumaro_exports() -> None:
    expected = [("img_0", "cat"), ("img 1", "dog"), ("img_2", None), ("img_3", "other, mixed")]
    named = [(f"{name}.png", label) for name, label in expected]
    cvat, lists, own = (read(f"datumaro/{name}") for name in ("cvat", "imagenet_txt", "datumaro"))
    assert [found.format for found in (cvat, lists, own)] == ["cvat", "imagenet-txt", "datumaro"]
    assert answers(cvat) == answers(own) == named
    assert answers(lists) == named
    assert lists.rows[1].sample_ref == "pool/img 1.png"  # written as "pool/img 1".png
    assert own.rows[3].sample_ref == "pool/sub/img_3.png"  # its image is called pool_sub_img_3.png
    assert answers(read("datumaro/imagenet_txt/default.txt")) == named
    assert answers(read("datumaro/datumaro/annotations/default.json")) == named


def test_datumaro_in_any_order_and_its_bad_items(tmp_path: Path) -> None:
    label = {"labels": [{"name": "cat"}, {"name": "dog"}]}
    kinds = [{"type": "label", "label_id": 1}, {"type": "bbox", "label_id": 0}]
    items = [
        {"id": "a", "annotations": kinds, "image": {"path": "a.jpg"}},
        {"id": "b", "annotations": [{"type": "label", "label_id": 2}]},
        {"id": "c", "annotations": [{"type": "label", "label_id": 0}, {"type": "label", "label_id": 1}]},
        {"annotations": []},
        {"id": "x", "attr": {"sample_id": ID}, "annotations": []},
    ]
    found = read(write(tmp_path, "d.json", {"items": items, "categories": {"label": label}}))
    assert [(row.sample_ref, row.label) for row in found.rows] == [("a.jpg", "dog"), (ID, None)]
    assert [str(problem) for problem in found.problems] == [
        "item 2: label_id '2' is none of the 2 classes, which count from 0",
        "item 3: several classes were chosen: 'cat', 'dog'; an image has one label",
        "item 4: names no sample: neither a sample_id nor a path",
    ]
    assert "names no classes" in refusal(write(tmp_path, "e.json", {"categories": [], "items": []}))


def test_imagenet_lists_that_are_wrong(tmp_path: Path) -> None:
    write(tmp_path, "synsets.txt", "cat\ndog\n")
    write(tmp_path, "train.txt", 'a.png 0\nb.png 2\nc d.png 1\n"e f.png" 1\ng.png 0 1\n\n"h.png" 0 1\n')
    found = read(tmp_path)
    assert answers(found) == [("a.png", "cat"), ("c d.png", "dog"), ("e f.png", "dog"), ("g.png 0", "dog")]
    assert [str(problem) for problem in found.problems] == [
        "train.txt, line 2: class 2 is none of the 2 in synsets.txt, which count from 0",
        "train.txt, line 7: several classes: 0, 1; an image has one label",
    ]
    (tmp_path / "synsets.txt").unlink()
    assert "is not ImageNet lists: synsets.txt" in refusal(tmp_path / "train.txt", "imagenet-txt")


def test_sagemaker() -> None:
    found = read("documented/sagemaker.manifest")
    assert found.format == "sagemaker"
    assert answers(found) == [
        ("img_0.png", "cat"),
        ("img_1.png", None),
        ("img_2.png", None),
        ("img%203.png", "other, mixed"),
    ]
    assert found.rows[0].labeled_at == "2018-10-18T22:18:13.527256+00:00"
    assert found.notes == ('1 of its labels are "human-annotated": "no": guesses of a model, not read',)


def test_sagemaker_of_several_jobs_or_of_another_kind(tmp_path: Path) -> None:
    line = {"source-ref": "s3://b/a.png", "sample_id": ID, "x-metadata": {"class-name": "cat"}}
    two = write(tmp_path, "2.jsonl", line | {"y-metadata": {"class-name": "dog"}})
    assert "several jobs could be the label: 'x', 'y'" in refusal(two)
    row = only(read(two, "auto", "y"))
    assert (row.sample_ref, row.label) == (ID, "dog")
    boxes = {
        "source-ref": "s3://b/a.png",
        "x-metadata": {"class-map": {"0": "cat"}, "type": "groundtruth/object-detection"},
    }
    assert "several classes an image" in str(read(write(tmp_path, "b.jsonl", boxes)).problems[0])


def test_labelbox() -> None:
    found = read("documented/labelbox.ndjson")
    assert found.format == "labelbox"
    assert answers(found) == [
        ("img_0.png", "cat"),
        ("img_1.png", "-"),
        ("img_2.png", None),
        ("k-17", "dog"),
        ("k-17", "other, mixed"),
    ]
    first = found.rows[0]
    assert (first.annotator, first.seconds, first.labeled_at) == ("ann@example.com", 3, "2023-10-13T16:13:27+00:00")
    assert found.rows[3].aliases == ("https://storage.example.com/pool/img%203.png?X-Sig=abc%2F",)


def test_labelbox_of_several_questions(tmp_path: Path) -> None:
    questions = [
        {"name": "animal", "radio_answer": {"name": "cat"}},
        {"name": "parts", "checklist_answers": [{"name": "ear"}, {"name": "tail"}]},
    ]
    labels = [{"annotations": {"classifications": questions}}]
    path = write(tmp_path, "l.ndjson", {"data_row": {"global_key": ID}, "projects": {"p": {"labels": labels}}})
    assert "several questions" in refusal(path)
    row = only(read(path, "auto", "animal"))
    assert (row.sample_ref, row.label) == (ID, "cat")
    assert "'ear', 'tail'" in str(read(path, "auto", "parts").problems[0])


def test_prodigy() -> None:
    found = read("documented/prodigy.jsonl")
    assert (found.format, found.in_order) == ("prodigy", True)
    assert answers(found) == [
        ("img_0.png", "cat"),
        ("img_1.png", "-"),
        ("img_2.png", "-"),
        ("img 3", "dog"),
        ("img_0.png", "dog"),
        ("img_4.png", None),
    ]
    first = found.rows[0]
    assert (first.annotator, first.labeled_at) == ("animals-ann", "2022-11-01T12:20:01+00:00")


def test_prodigy_of_a_single_label(tmp_path: Path) -> None:
    lines = [{"image": "a.png", "label": "cat", "answer": answer} for answer in ("accept", "reject", "ignore", "maybe")]
    found = read(write(tmp_path, "p.jsonl", "".join(json.dumps(line) + "\n" for line in lines)))
    assert answers(found) == [("a.png", "cat"), ("a.png", None), ("a.png", "-")]
    assert str(found.problems[0]) == "line 4: answer 'maybe' is none of accept, reject, ignore"


def test_plain_json_lines(tmp_path: Path) -> None:
    lines = [
        json.dumps({"sample_id": ID, "label": "cat", "annotator": 7, "cost": "0.5", "seconds": 2, "path": "a.png"}),
        json.dumps({"path": "b.png", "label": 1, "labeled_at": "2030-01-01"}),
        json.dumps({"image": "c.png", "label": None}),
        json.dumps({"file_name": "d.png", "skipped": True}),
        json.dumps({"path": "e.png"}),
        json.dumps({"path": "f.png", "label": True}),
        json.dumps({"sample_id": "17", "label": "cat"}),
        "{nonsense",
        '{"path": "g.png", "label": ' + "9" * 5000 + "}",
        "[" * 100_000,
    ]
    found = read(write(tmp_path, "l.jsonl", "\ufeff" + "\r\n".join(lines)))
    assert found.format == "jsonl"
    assert answers(found) == [(ID, "cat"), ("b.png", "1"), ("c.png", None), ("d.png", "-")]
    first = found.rows[0]
    assert (first.annotator, first.cost, first.seconds, first.path) == ("7", 0.5, 2, "a.png")
    assert [str(problem) for problem in found.problems] == [
        "line 5: has no 'label', but 'path'",
        "line 6: label is true or false, not text",
        "line 7: sample_id '17' is not 's-' and 32 hexadecimal digits",
        "line 8: is not JSON: expecting property name enclosed in double quotes (column 2)",
        "line 9: has a number of too many digits",
        "line 10: is nested too deeply",
    ]


# Folders


def images(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def test_a_folder_per_class_on_disk_and_in_a_zip(tmp_path: Path) -> None:
    folder = images(
        tmp_path / "done", "cat/a.png", "dog/deep/b.JPG", "c.png", "no_label/d.png", "cat/notes.txt", ".git/e.png"
    )
    expected = [(None, "c.png"), ("cat", "cat/a.png"), ("dog", "dog/deep/b.JPG"), (None, "no_label/d.png")]
    archive = shutil.make_archive(str(tmp_path / "done"), "zip", tmp_path, "done")
    for path in (folder, Path(archive)):
        found = read(path)
        assert found.format == "imagefolder"
        assert [(row.label, row.part) for row in found.rows] == expected
        assert found.rows[1].sample_ref == sample_id(folder / "cat" / "a.png")
        assert found.rows[1].aliases == ("cat/a.png",)


def test_odd_folders(tmp_path: Path) -> None:
    folder = images(tmp_path / "done", "cat/a.png")
    (folder / "dog").symlink_to(images(tmp_path / "elsewhere", "b.png"))
    (folder / "cat" / "round").symlink_to(folder)
    os.mkfifo(folder / "cat" / "pipe.png")
    (folder / os.fsdecode(b"caf\xe9")).mkdir()
    (folder / os.fsdecode(b"caf\xe9") / "c.png").write_bytes(b"c")
    (folder / "cat" / os.fsdecode(b"\xe9.png")).write_bytes(b"d")
    found = read(folder)
    assert [(row.part, row.label) for row in found.rows] == [
        ("cat/a.png", "cat"),
        ("cat/\\udce9.png", "cat"),
        ("dog/b.png", "dog"),
    ]
    assert [str(problem) for problem in found.problems] == [
        "caf\\udce9/c.png: the name of its folder is not valid UTF-8: rename it",
        f"cat/pipe.png: {folder}/cat/pipe.png is not a file.",
    ]


def test_parts_of_a_data_set_are_no_classes(tmp_path: Path) -> None:
    found = read(images(tmp_path, "train/cat/a.png", "Test/dog/b.png", "val/c.png"))
    assert sorted((row.part, row.label) for row in found.rows) == [
        ("Test/dog/b.png", "dog"),
        ("train/cat/a.png", "cat"),
        ("val/c.png", "val"),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [("metadata.csv", "file_name,label\na.png,cat\n"), ("metadata.jsonl", '{"file_name": "a.png", "label": "cat"}\n')],
)
def test_hugging_face_metadata(tmp_path: Path, name: str, text: str) -> None:
    images(tmp_path, "a.png")
    write(tmp_path, name, text)
    row = only(read(tmp_path))
    assert (row.sample_ref, row.label, row.part) == ("a.png", "cat", name)


def test_folders_that_hold_no_labels(tmp_path: Path) -> None:
    images(tmp_path, "a.png")
    assert "in no known label format" in refusal(tmp_path)
    assert "is not a folder or zip with a folder of images per class" in refusal(tmp_path, "imagefolder")


# Which one it is


def test_another_format_than_asked_for_is_refused_saying_what_it_looks_like() -> None:
    message = refusal("documented/prodigy.jsonl", "cvat")
    assert "is not CVAT for images 1.1" in message
    assert "It looks like prodigy (JSON lines with 'answer'" in message
    assert read("documented/prodigy.jsonl", "prodigy").reason == "--format"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "a JSON array without objects"),
        ('[{"image": "a.png"}]', "Its first object has the keys 'image'"),
        ("<html><p></p></html>", "XML of <html>"),
        ("<annotations>", "line 1: no element found"),
        ('[{"data": {}, "annotations": []}', "line 1: ends where ',' or ']' is expected"),
        ('[{"data": {}, "annotations": []}] x', "has something behind its end"),
        ('[{"data": {"a": "b', "line 1: is not JSON: unterminated string"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><annotations/>", "line 1: has a document type declaration"),
    ],
)
def test_what_is_none_of_them_or_broken(tmp_path: Path, text: str, says: str) -> None:
    assert says in refusal(write(tmp_path, "x", text))

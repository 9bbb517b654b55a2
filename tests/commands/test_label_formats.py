"""Round trips: a batch goes out in a tool's format, comes back as the tool writes it, damaged or not."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from dalcli_runner import message, ok, problems, run
from hypothesis import given, settings
from hypothesis import strategies as st
from workspaces import add_model, add_scores, ask, dump, ids, image, make, session

from dalcli.formats.registry import BATCH_FORMATS, FORMATS
from dalcli.state.workspace import Workspace
from dalcli.workspace.matching import SampleMatcher, UnknownSampleError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "work")


def labels(root: Path) -> dict[str, str]:
    """Labels by path."""
    return {row["path"]: row["label"] for row in ok(root, "pool", "list", "--state", "labeled").rows}


def write(root: Path, name: str, content: object) -> str:
    text = content if isinstance(content, str) else json.dumps(content)
    (root / name).write_text(text, encoding="utf-8")
    return name


# Going out


def test_every_format_prints_the_same_batch_again_and_again(root: Path) -> None:
    first = {name: ok(root, "query", "--budget", "3", "--format", name).out for name in BATCH_FORMATS}
    assert [row["batch_id"] for row in ok(root, "batch", "list", "--json").json["batches"]] == ["b-0001"]
    paths = first["paths"].decode().splitlines()
    ok(root, "ingest-labels", write(root, "l.csv", f"path,label\n{paths[0]},zebra\n"), "--allow-new-classes")
    (root / paths[1]).rename(root / "elsewhere.png")
    add_model(root)
    again = {name: ok(root, "query", "--budget", "3", "--format", name).out for name in BATCH_FORMATS}
    assert again == first
    assert first["csv"] == ok(root, "batch", "show", "b-0001", "--csv").out


def test_what_each_format_holds(root: Path) -> None:
    rows = ok(root, "query", "--budget", "2").rows
    ok(root, "ingest-labels", write(root, "l.csv", f"path,label\n{rows[0]['path']},cat\n"))
    add_model(root)
    add_scores(root)
    image(root / "odd" / "a b%é.png", 300)
    (row,) = ok(root, "query", "--new", "--budget", "1").rows

    def printed(name: str, *options: str) -> str:
        return ok(root, "query", "--budget", "1", "--format", name, *options).out.decode()

    ident, path = row["sample_id"], row["path"]
    (lines,) = map(json.loads, printed("jsonl").splitlines())
    assert lines == row | {
        "rank": 1,
        "score": float(row["score"]),
        "confidence": float(row["confidence"]),
        "label": None,
    }
    assert printed("paths") == f"{path}\n"
    (task,) = json.loads(printed("label-studio"))
    assert task["data"]["image"] == f"/data/local-files/?d={path}"
    assert task["data"]["sample_id"] == ident
    (prediction,) = task["predictions"]
    assert prediction["result"][0]["value"] == {"choices": [row["pseudo_label"]]}
    assert (prediction["score"], prediction["model_version"]) == (float(row["confidence"]), "m-0001")
    assert f'name="{path}"' in printed("cvat")
    assert json.loads(printed("sagemaker", "--image-url", "s3://b/p"))["source-ref"] == f"s3://b/p/{path}"
    prodigy = json.loads(printed("prodigy"))
    assert [option["id"] for option in prodigy["options"]] == ["cat", "dog"]
    assert "accept" not in prodigy
    (data_row,) = json.loads(printed("labelbox", "--image-url", "https://h/?file="))
    assert (data_row["row_data"], data_row["global_key"]) == (f"https://h/?file={path}", ident)


def test_tools_that_fetch_images_are_told_that_paths_are_no_addresses(root: Path) -> None:
    assert "pass --image-url s3://" in ok(root, "query", "--budget", "2", "--format", "sagemaker").err
    assert "--image-url" not in ok(root, "query", "--budget", "2", "--format", "label-studio").err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--format", "csvv"), "unknown format 'csvv': did you mean 'csv'?"),
        (("--format", "datumaro"), "choose one of: csv, jsonl, paths"),
        (("--image-url", "s3://b/"), "--image-url has no effect on --format csv"),
    ],
)
def test_wrong_options_of_query(root: Path, options: Sequence[str], says: str) -> None:
    refused = run(root, "query", "--budget", "2", *options)
    assert refused.code == 2
    assert says in refused.err
    assert ok(root, "batch", "list", "--json").json["batches"] == []


# There and back


def label_studio(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What comes back of tasks: cat, dog, skipped, empty, and one that nobody did."""
    answers: list[dict[str, Any]] = [
        {"result": [{"from_name": "label", "type": "choices", "value": {"choices": ["cat"]}}]},
        {"result": [{"from_name": "label", "type": "choices", "value": {"choices": ["dog"]}}]},
        {"result": [{"from_name": "label", "type": "choices", "value": {"choices": ["dog"]}}], "was_cancelled": True},
        {"result": []},
    ]
    filled = [answer | {"completed_by": 1, "updated_at": "2030-01-01T00:00:00Z"} for answer in answers]
    return [{**task, "id": n, "annotations": filled[n : n + 1], "predictions": [n]} for n, task in enumerate(rows)]


def flat(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = [(task, answer) for task, answer in zip(rows, ["cat", "dog", None, ""], strict=False) if answer is not None]
    return [
        task["data"] | {"id": n, "annotation_id": n, "annotator": 1, "lead_time": 1.5} | ({"label": a} if a else {})
        for n, (task, a) in enumerate(kept)
    ]


def sagemaker(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    said = [{"class-name": "cat"}, {"class-name": "dog"}, {"failure-reason": "?"}, {}, {}]
    return [row | {"job-metadata": answer} for row, answer in zip(rows, said, strict=True)]


def prodigy(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    said = [("accept", ["cat"]), ("accept", ["dog"]), ("ignore", []), ("accept", [])]
    return [row | {"answer": answer, "accept": chosen} for row, (answer, chosen) in zip(rows, said, strict=False)]


def labelbox(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def label(n: int) -> list[dict[str, Any]]:
        name = ["cat", "dog", None, None][n]
        found = [] if name is None else [{"name": "kind", "radio_answer": {"name": name}}]
        return [{"annotations": {"classifications": found}, "performance_details": {"skipped": n == 2}}]

    return [
        {
            "data_row": {"id": "c", "global_key": row["global_key"]},
            "projects": {"p": {"labels": label(n) if n < 4 else []}},
        }
        for n, row in enumerate(rows)
    ]


ROUND_TRIPS: dict[str, tuple[str, Callable[[list[dict[str, Any]]], list[dict[str, Any]]], str, int]] = {
    "label-studio": ("label-studio", label_studio, "array", 1),
    "label-studio-min": ("label-studio", flat, "array", 0),
    "sagemaker": ("sagemaker", sagemaker, "lines", 0),
    "prodigy": ("prodigy", prodigy, "lines", 1),
    "labelbox": ("labelbox", labelbox, "lines", 1),
}


@pytest.mark.parametrize("tool", ROUND_TRIPS)
def test_a_batch_goes_to_a_tool_and_comes_back_in_part(root: Path, tool: str) -> None:
    going, answered, shape, skipped = ROUND_TRIPS[tool]
    out = ok(root, "query", "--budget", "5", "--format", going, "-o", "tasks").out
    assert out == b""
    text = (root / "tasks").read_text()
    rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    back = answered(rows)
    name = write(root, "back", back if shape == "array" else "".join(json.dumps(line) + "\n" for line in back))
    done = ok(root, "ingest-labels", name)
    assert f"back is read as {tool}: " in done.err
    batch = [row["path"] for row in ok(root, "query", "--budget", "5").rows]
    assert labels(root) == {batch[0]: "cat", batch[1]: "dog"}
    assert ok(root, "batch", "list", "--json").json["batches"][0]["answered"] == 2 + skipped
    before = dump(root)
    assert "known already" in ok(root, "ingest-labels", name, "--format", tool).err
    assert dump(root) == before


def test_a_folder_per_class_comes_back_as_copies_under_other_names(root: Path) -> None:
    for number, name in ((0, "cat/eins.png"), (1, "dog/zwei.png")):
        (root / "done" / name).parent.mkdir(parents=True)
        (root / "done" / name).write_bytes((root / "photos" / f"{number}.png").read_bytes())
    ok(root, "ingest-labels", "done")
    assert labels(root) == {"photos/0.png": "cat", "photos/1.png": "dog"}
    assert ask(root, "SELECT file, line FROM vote ORDER BY id") == [("done/cat/eins.png", 0), ("done/dog/zwei.png", 0)]
    (root / "done" / "dog" / "eins.png").write_bytes((root / "photos" / "0.png").read_bytes())
    (root / "done" / "bird").mkdir()
    (root / "done" / "bird" / "2.png").write_bytes((root / "photos" / "2.png").read_bytes())
    assert problems(run(root, "ingest-labels", "done")) == [
        "bird/2.png: unknown class 'bird'",
        "dog/eins.png: 'dog' contradicts 'cat' in done/cat/eins.png",
    ]
    (root / "done" / "cat" / "eins.png").unlink()
    assert problems(run(root, "ingest-labels", "done"))[0] == "bird/2.png: unknown class 'bird'"
    (root / "done" / "bird" / "2.png").unlink()
    assert problems(run(root, "ingest-labels", "done")) == [
        "done/dog/eins.png: 'dog' differs from 'cat' (done/cat/eins.png)"
    ]


# Who said what, when


def rows_of(root: Path, *answers: tuple[str, str, str], name: str = "l.csv") -> str:
    lines = [f"photos/0.png,{label},{who},{when}" for label, who, when in answers]
    return write(root, name, "\n".join(["path,label,annotator,labeled_at", *lines]) + "\n")


def test_the_latest_answer_of_an_annotator_counts_in_any_order(root: Path) -> None:
    answers = [("cat", "ann", "2030-01-01"), ("dog", "ann", "2030-01-03"), ("cat", "ann", "2030-01-02")]
    done = ok(root, "ingest-labels", rows_of(root, *answers))
    assert labels(root) == {"photos/0.png": "dog"}
    assert "changed later by" in done.err
    other = make(root.parent / "other")
    ok(other, "ingest-labels", rows_of(other, *answers[::-1]))
    assert labels(other) == {"photos/0.png": "dog"}


def test_an_answer_at_the_same_time_or_without_one_contradicts(root: Path) -> None:
    for when in ("2030-01-01", ""):
        refused = run(root, "ingest-labels", rows_of(root, ("cat", "ann", when), ("dog", "ann", when)))
        assert problems(refused) == ["line 3: 'dog' contradicts 'cat' in line 2"]


def test_an_answer_taken_back_later_is_none(root: Path) -> None:
    ok(root, "ingest-labels", rows_of(root, ("cat", "ann", "2030-01-01"), ("", "ann", "2030-01-02")))
    assert labels(root) == {}
    ok(root, "ingest-labels", rows_of(root, ("cat", "ann", "2030-01-02"), ("", "ann", "2030-01-01"), ("", "bob", "")))
    assert labels(root) == {"photos/0.png": "cat"}


def test_two_annotators_of_an_export_dispute_and_the_task_imported_twice_is_one_vote(root: Path) -> None:
    def done(label: str, who: object, when: str) -> dict[str, Any]:
        result = [{"from_name": "c", "type": "choices", "value": {"choices": [label]}}]
        return {"result": result, "completed_by": who, "updated_at": f"2030-01-01T00:00:0{when}Z"}

    tasks = [
        {"data": {"image": "photos/0.png"}, "annotations": [done("cat", 1, "1"), done("dog", {"email": "b@x"}, "2")]},
        {"data": {"image": "photos/1.png"}, "annotations": [done("cat", 1, "1")]},
        {"data": {"image": "photos/1.png"}, "annotations": [done("cat", 1, "9")]},
        {"data": {"image": "photos/2.png"}, "annotations": [done("dog", 1, "5")]},
        {"data": {"image": "photos/2.png"}, "annotations": [done("cat", 1, "3")]},
    ]
    ok(root, "ingest-labels", write(root, "e.json", tasks))
    assert [row["path"] for row in ok(root, "pool", "list", "--state", "disputed").rows] == ["photos/0.png"]
    assert labels(root) == {"photos/1.png": "cat", "photos/2.png": "dog"}


def test_the_later_line_of_a_prodigy_dataset_counts(root: Path) -> None:
    line = {"image": "photos/0.png", "answer": "accept"}
    lines = [
        line | {"accept": ["cat"]},
        line | {"accept": ["dog"]},
        {"image": "photos/1.png", "answer": "reject", "accept": []},
    ]
    ok(root, "ingest-labels", write(root, "p.jsonl", "".join(json.dumps(line) + "\n" for line in lines)))
    assert labels(root) == {"photos/0.png": "dog"}
    assert len(ok(root, "pool", "list", "--state", "skipped").rows) == 1


# Which sample is meant


@pytest.fixture(scope="module")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> SampleMatcher:
    """A pool with names that tools rewrite."""
    root = tmp_path_factory.mktemp("pool") / "work"
    root.mkdir()
    paths = ["a/x.png", "b/x.png", "a/my photo (1).jpg", "a/100%25.png", "a/cafe\u0301.png", "/mnt/ext/far.png"]
    paths += ["deadbeef-y.png", "y.png", "c/one.png", "c/one.jpg", "a/nb\u202fsp.png", "d e/f.png"]
    by_path = {path: key for key, path in enumerate(paths)}
    return SampleMatcher(Workspace(root), None, {f"s-{'0' * 32}": 99}, by_path)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("/data/local-files/?d=work/a/x.png", "a/x.png"),
        ("/data/local-files/?d=a%2Fx.png", "a/x.png"),
        ("file:///mnt/ext/far.png", "/mnt/ext/far.png"),
        ("file://localhost/mnt/ext/far.png", "/mnt/ext/far.png"),
        ("a/my%20photo%20%281%29.jpg", "a/my photo (1).jpg"),
        ("s3://bucket/pool/a/my%20photo%20(1).jpg", "a/my photo (1).jpg"),
        ("https://host/p/b/x.png?X-Amz-Signature=1%2F2", "b/x.png"),
        ("/data/upload/7/5ce10feb-my_photo_1.jpg", "a/my photo (1).jpg"),
        ("deadbeef-y.png", "deadbeef-y.png"),
        ("5ce10feb-y.png", "y.png"),
        ("a/100%25.png", "a/100%25.png"),
        ("a/100%2525.png", "a/100%25.png"),
        ("a/caf\u00e9.png", "a/cafe\u0301.png"),
        ("elsewhere/CAF".lower() + "\u00e9.png", "a/cafe\u0301.png"),
        ("a/nb sp.png", "a/nb\u202fsp.png"),
        ("work\\b\\x.png", "b/x.png"),
        ("C:\\pool\\a\\x.png", "a/x.png"),
        ("file:///C:/pool/b/x.png", "b/x.png"),
        ("\ufeffa/x.png", "a/x.png"),
        ("d%20e/f.png", "d e/f.png"),
    ],
)
def test_paths_as_tools_rewrite_them(matcher: SampleMatcher, written: str, path: str) -> None:
    assert matcher.find(written) == matcher._by_path[path]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("x.png", "2 samples have a file named 'x.png': 'a/x.png', 'b/x.png'"),
        ("s3://bucket/z/x.png", "'a/x.png', 'b/x.png'"),
        ("5ce10feb-x.png", "2 samples have a file named 'x.png'"),
        ("one", "unknown sample 'one'"),
        ("nothing.png", "unknown sample"),
        ("s-" + "1" * 32, "unknown sample"),
        ("1,23E+05", "a spreadsheet has made a number of it"),
        ("http://[", "unknown sample"),
        ("a\0.png", "unknown sample"),
    ],
)
def test_paths_that_mean_no_sample_or_several(matcher: SampleMatcher, written: str, says: str) -> None:
    with pytest.raises(UnknownSampleError) as caught:
        matcher.find(written)
    assert says in str(caught.value)


def test_names_without_extension_where_a_tool_takes_it_off(matcher: SampleMatcher) -> None:
    assert matcher.find("a/my photo (1)", without_extension=True) == matcher._by_path["a/my photo (1).jpg"]
    with pytest.raises(UnknownSampleError, match="2 samples have a file named 'one'"):
        matcher.find("c/one", without_extension=True)
    assert matcher.find("nowhere", ("nothing", "b/x.png")) == matcher._by_path["b/x.png"]


@given(st.text(max_size=30) | st.text("/%.?d=:ax\\ ", max_size=20))
@settings(max_examples=200)
def test_any_text_is_a_sample_or_none(matcher: SampleMatcher, text: str) -> None:
    try:
        assert matcher.find(text) in {*matcher._by_path.values(), 99}
    except UnknownSampleError as error:
        assert text in str(error)


# What spreadsheets and editors leave


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\r\npath;label\r\nphotos/0.png;cat\r\n",
        '"sep=,"\npath,label\nphotos/0.png,cat\n',
        "\ufeffsep=;\npath;label\nphotos/0.png;cat\n",
        "SEP=\t\npath\tlabel\nphotos/0.png\tcat\n",
        "path|label\nphotos/0.png|cat\n",
        "path,label,,,\nphotos/0.png,cat,,,\n",
        "path,label\nphotos/0.png,cat,,,\n",
        "path,label,,\nphotos/0.png,cat\n",
        "\ufeff\ufeffpath,label\nphotos/0.png,cat\n",
        '"path\n","label\r\n"\nphotos/0.png,"cat\r\n"\n',
        "path,label\nphotos/0.png,\u00a0cat\u00a0\n",
        "path,label\n\u00a0photos/0.png\u200b,\ufeffcat\u2060\n",
        "path,label\nfile://{root}/photos/0.png,cat\n",
        "path,label\nphotos%2F0.png,cat\n",
        "path\tlabel\rphotos/0.png\tcat\r",
    ],
)
def test_tables_that_spreadsheets_have_been_at(root: Path, text: str) -> None:
    (root / "l.csv").write_bytes(text.replace("{root}", str(root)).encode())
    ok(root, "ingest-labels", "l.csv")
    assert labels(root) == {"photos/0.png": "cat"}


AWKWARD = [
    "NA",
    "null",
    "00123",
    "1-2",
    "true",
    "1e5",
    "=x",
    "-1",
    "+",
    "@home",
    "'=y",
    "polar bear",
    "caf\u00e9",
    "None",
]


def test_awkward_class_names_come_back_as_they_are(tmp_path: Path) -> None:
    root = tmp_path / "work"
    (root / "photos").mkdir(parents=True)
    for number in range(len(AWKWARD)):
        image(root / "photos" / f"{number}.png", number)
    (root / "classes.txt").write_text("\n".join(AWKWARD), encoding="utf-8")
    (root / "dalcli.yaml").write_text("evaluation:\n  reserve: 0\n")
    ok(root, "init", "photos", "--classes", "classes.txt")
    expected = {f"photos/{n}.png": name for n, name in enumerate(AWKWARD)}
    ok(root, "ingest-labels", write(root, "l.csv", "path,label\n" + "".join(f"{p},{n}\n" for p, n in expected.items())))
    assert labels(root) == expected


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("123", "unknown class '123': did you mean '00123'?"),
        ("2-Jan", "unknown class '2-Jan': a spreadsheet has made a date of it; format the column as text"),
        ("01.02.2026", "a spreadsheet has made a date of it"),
        ("1,00E+05", "a spreadsheet has made a number of it"),
        ("TRUE", "unknown class 'TRUE': did you mean 'true'?"),
        ("#N/A", "a formula has failed in a spreadsheet"),
    ],
)
def test_what_a_spreadsheet_made_of_a_class_is_refused_also_where_new_ones_are_allowed(
    tmp_path: Path, written: str, says: str
) -> None:
    root = tmp_path / "work"
    image(root / "photos" / "0.png", 0)
    (root / "dalcli.yaml").write_text("evaluation:\n  reserve: 0\n")
    ok(root, "init", "photos", "--classes", "00123,1-2,true,1e5")
    text = f'path;label\nphotos/0.png;"{written}"\n'
    refused = run(root, "ingest-labels", write(root, "l.csv", text))
    assert refused.code == 3
    assert says in problems(refused)[0]
    assert problems(refused)[0].startswith("line 2: ")
    if "spreadsheet" in says:
        refused = run(root, "ingest-labels", "l.csv", "--allow-new-classes")
        assert refused.code == 3
        assert says in problems(refused)[0]
        assert ok(root, "status", "--json").json["classes"] == ["00123", "1-2", "true", "1e5"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_both_normal_forms_of_a_class_are_one(tmp_path: Path, form: Any) -> None:
    root = tmp_path / "work"
    image(root / "photos" / "0.png", 0)
    image(root / "photos" / "1.png", 1)
    (root / "dalcli.yaml").write_text("evaluation:\n  reserve: 0\n")
    name = unicodedata.normalize(form, "caf\u00e9")
    ok(root, "init", "photos", "--classes", f"{name},polar bear")
    text = "path,label\nphotos/0.png,cafe\u0301\nphotos/1.png,polar\u00a0bear\n"
    ok(root, "ingest-labels", write(root, "l.csv", text), "--allow-new-classes")
    assert labels(root) == {"photos/0.png": name, "photos/1.png": "polar bear"}
    assert ok(root, "status", "--json").json["classes"] == [name, "polar bear"]


def test_a_name_like_a_formula_goes_out_harmless_and_comes_back(tmp_path: Path) -> None:
    root = tmp_path / "work"
    names = ["=1+1.png", "-x.png", "@y.png", "+z.png", "'=q.png", "'plain.png"]
    for number, name in enumerate(names):
        image(root / name, number)
    (root / "dalcli.yaml").write_text("evaluation:\n  reserve: 0\n")
    ok(root, "init", ".", "--classes", "=cat,dog")
    rows = ok(root, "query", "--budget", "9").rows
    assert sorted(row["path"] for row in rows) == sorted(
        ["'=1+1.png", "'-x.png", "'@y.png", "'+z.png", "''=q.png", "'plain.png"]
    )
    assert sorted(ok(root, "query", "--budget", "9", "--format", "paths").out.decode().splitlines()) == sorted(names)
    text = "path,label\n" + "".join(f"{row['path']},'=cat\n" for row in rows)
    ok(root, "ingest-labels", write(root, "l.csv", text))
    assert labels(root) == dict.fromkeys(names, "=cat")


# Misuse


def test_wrong_options_of_ingest_labels(root: Path) -> None:
    write(root, "l.csv", "path,label,kind\nphotos/0.png,cat,dog\n")
    for options, code, says in [
        (("--format", "exel"), 2, "unknown format 'exel'"),
        (("--label-column", " "), 2, "--label-column is empty"),
        (("--format", "xlsx"), 3, "It looks like csv (a table with 'label' and 'path')"),
        (("--label-column", "sort"), 3, "It needs a column 'sort'"),
    ]:
        refused = run(root, "ingest-labels", "l.csv", *options)
        assert refused.code == code
        assert says in refused.err
    ok(root, "ingest-labels", "l.csv", "--label-column", "Kind")
    assert labels(root) == {"photos/0.png": "dog"}


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in {"csv"}])
def test_nothing_is_recorded_of_a_file_in_another_format(root: Path, name: str) -> None:
    write(root, "l.csv", "path,label\nphotos/0.png,cat\n")
    before = dump(root)
    refused = run(root, "ingest-labels", "l.csv", "--format", name)
    assert refused.code == 3
    assert len(message(refused)) == 2
    assert dump(root) == before


def test_half_a_file_is_no_half_import(root: Path) -> None:
    tasks = [{"data": {"image": f"photos/{n}.png"}, "annotations": []} for n in range(9)]
    tasks[0]["annotations"] = [{"result": [{"from_name": "c", "type": "choices", "value": {"choices": ["cat"]}}]}]
    text = json.dumps(tasks)
    before = dump(root)
    for end in (len(text) - 1, len(text) // 2, 70):
        refused = run(root, "ingest-labels", write(root, "e.json", text[:end]))
        assert refused.code == 3
        assert "e.json, line 1: " in refused.err
        assert dump(root) == before
    (root / "empty").mkdir()
    for place in ("empty", "photos", write(root, "nothing.json", "")):
        assert run(root, "ingest-labels", place).code == 3


def test_the_matcher_of_a_real_pool_reads_its_own_paths(root: Path) -> None:
    with session(root) as opened, opened.database.read() as connection:
        found = SampleMatcher.of(connection, opened.workspace, None)
        assert {found.find(f"photos/{name}") for name in ids(root / "photos")} == set(range(1, 13))

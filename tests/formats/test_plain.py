import pytest

from dalcli.data.table import RowProblem
from dalcli.data.text import TextInput
from dalcli.errors import BadInputError
from dalcli.formats.batch_csv import CsvRow, render_batch
from dalcli.formats.labels import LabelFile, LabelRow
from dalcli.formats.registry import FORMATS, read_labels

ONE, TWO = f"s-{'1' * 32}", f"s-{'2' * 31}a"


def read(text: str | bytes) -> LabelFile:
    return read_labels(TextInput("labels.csv", text.encode() if isinstance(text, str) else text))


def test_sample_ids_and_labels() -> None:
    assert read(f"sample_id,label\n{ONE},cat\n{TWO}, dog \n") == LabelFile(
        [LabelRow(2, ONE, "cat"), LabelRow(3, TWO, "dog")], []
    )


@pytest.mark.parametrize("column", ["path", "image", "file_name", "filename"])
def test_paths_are_taken_as_written(column: str) -> None:
    assert read(f'{column},label\n"sub/ a, b.png",cat\n').rows == [LabelRow(2, "sub/ a, b.png", "cat")]


def test_all_columns() -> None:
    text = (
        "Sample_ID;path;label;annotator;cost;seconds;labeled_at;skipped;notes\n"
        f"{ONE};a.png;cat; ann ;0,25;3.5;2030-01-31T12:00:00+01:00;no;fine\n"
        f"{TWO};b.png;dog;;;;;yes;blurred\n"
    )
    assert read(text).rows == [
        LabelRow(2, ONE, "cat", "ann", 0.25, 3.5, "2030-01-31T11:00:00+00:00", path="a.png"),
        LabelRow(3, TWO, None, skipped=True, path="b.png"),
    ]


def test_every_cell_is_text() -> None:
    labels = ["000001", "1e5", "NA", "null", "True", "1.0", "nan"]
    rows = read("path,label\n" + "".join(f"{label}.png,{label}\n" for label in labels)).rows
    assert [(row.sample_ref, row.label) for row in rows] == [(f"{label}.png", label) for label in labels]


def test_an_empty_label_is_not_labeled_yet() -> None:
    assert read(f"sample_id,label\n{ONE},\n{TWO},  \n").rows == [LabelRow(2, ONE, None), LabelRow(3, TWO, None)]


def test_the_sample_id_counts_more_than_the_path_which_helps_out() -> None:
    rows = read(f"path,sample_id,label\na.png,{ONE},cat\nb.png,,dog\n").rows
    assert [row.sample_ref for row in rows] == [ONE, "b.png"]


def test_sample_ids_in_capitals_are_the_same() -> None:
    assert read(f"sample_id,label\n{TWO.upper()},cat\n").rows[0].sample_ref == TWO


def test_all_bad_rows_are_reported_and_good_ones_kept() -> None:
    found = read(
        "sample_id,path,label,cost,seconds,labeled_at,skipped\n"
        f"{ONE},,cat,,,,\n"
        ",,cat,,,,\n"
        "s-123,a.png,cat,,,,\n"
        ",a.png,cat,-1,,,\n"
        ",a.png,cat,,long,,\n"
        ",a.png,cat,,,yesterday,\n"
        ",a.png,cat,,,,perhaps\n"
        ",a.png,cat\n"
        ',"a\nb.png",cat,1,2,2030-01-01,0\n'
    )
    assert [row.line for row in found.rows] == [2, 10]
    assert found.problems == [
        RowProblem(3, "names no sample: neither a sample_id nor a path"),
        RowProblem(4, "sample_id 's-123' is not 's-' and 32 hexadecimal digits"),
        RowProblem(5, "cost '-1' is not a number of at least 0"),
        RowProblem(6, "seconds 'long' is not a number of at least 0"),
        RowProblem(7, "labeled_at 'yesterday' is not a date and time like 2030-01-31T12:00:00Z"),
        RowProblem(8, "skipped 'perhaps' is neither yes (1, true, yes, y, x) nor no (0, false, no, n)"),
        RowProblem(9, "has 3 cells where the header has 7"),
    ]
    assert str(found.problems[0]).startswith("line 3: ")


def test_missing_columns_are_explained() -> None:
    with pytest.raises(BadInputError) as caught:
        read("path,labels\na.png,cat\n")
    assert "found the columns 'path', 'labels'" in caught.value.message
    assert "is 'labels' meant to be 'label'?" in (caught.value.remedy or "")
    with pytest.raises(BadInputError, match="'sample_id', 'path', 'image', 'file_name'"):
        read("label,annotator\ncat,ann\n")
    with pytest.raises(BadInputError, match=r"comma, semicolon, tab or \|"):
        read("path/label\na.png/cat\n")


def test_two_path_columns_are_ambiguous_unless_there_is_a_sample_id() -> None:
    with pytest.raises(BadInputError, match="'path', 'image' mean the same"):
        read("path,image,label\na,b,cat\n")
    rows = read(f"path,image,sample_id,label\na,b,{ONE},cat\na,b,,cat\n").rows
    assert [row.sample_ref for row in rows] == [ONE, "a"]


@pytest.mark.parametrize("text", ['[{"data": {}}]', "<labels></labels>", '\ufeff \n[{"a": 1}]'])
def test_other_formats_are_refused_listing_the_known_ones(text: str) -> None:
    with pytest.raises(BadInputError) as caught:
        read(text)
    assert caught.value.message.startswith("labels.csv is in no known label format.")
    assert all(name in (caught.value.remedy or "") for name in FORMATS)


@pytest.mark.parametrize("text", [b"", b"path,label\n", b"caf\xe9,label\n", b"path,label\na\0b,cat\n"])
def test_damaged_files_are_refused(text: bytes) -> None:
    with pytest.raises(BadInputError):
        read(text)


def test_our_own_batch_comes_back_as_not_labeled_yet_and_then_as_labels() -> None:
    batch = [
        CsvRow(ONE, 'odd, "name"\r.png', 1, 0.5, "cat", 0.9, "dynamical", "active", "b-1"),
        CsvRow(TWO, "=x.png", 2, None, None, None, "random", "active", "b-1"),
    ]
    sheet = render_batch(batch)
    rows = [
        LabelRow(2, ONE, None, path='odd, "name"\r.png', batch="b-1"),
        LabelRow(4, TWO, None, path="=x.png", batch="b-1"),
    ]
    assert read(sheet) == LabelFile(rows, [])
    filled = sheet.replace(b"b-1,\n", b"b-1,dog\n")
    assert [(row.sample_ref, row.label) for row in read(filled).rows] == [(ONE, "dog"), (TWO, "dog")]

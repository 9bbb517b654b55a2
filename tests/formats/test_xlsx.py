"""Workbooks as openpyxl writes them, and as spreadsheets leave what was typed in."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_exports import answers, read

from dalcli.data.text import TextInput
from dalcli.errors import BadInputError
from dalcli.formats.registry import read_labels
from dalcli.formats.source import Archive
from dalcli.formats.workbook import Workbook

ID = f"s-{'1a' * 16}"


def book(path: Path, *rows: list[object], title: str = "batch") -> Path:
    made = openpyxl.Workbook()
    sheet = made.active
    sheet.title = title
    for row in rows:
        sheet.append(row)
    made.save(path)
    return path


def test_a_filled_in_batch(tmp_path: Path) -> None:
    path = book(
        tmp_path / "b.xlsx",
        ["sample_id", "path", "score", "label", "annotator", "cost", "labeled_at", "skipped", None],
        [ID, "a.png", 0.5, "cat", 7, 0.25, datetime(2030, 1, 31, 12), None],
        [None, "00123.png", None, "00123", None, "0,5", "2030-01-31", False],
        [],
        [None, "c.png", None, None, None, None, None, True],
        [None, "d.png", date(2030, 1, 1), 5],
        [None, "é.png", None, "<&\n>", None, 3],
    )
    found = read(path)
    assert (found.format, found.unit, found.problems) == ("xlsx", "row", [])
    assert answers(found) == [(ID, "cat"), ("00123.png", "00123"), ("c.png", "-"), ("d.png", "5"), ("é.png", "<&\n>")]
    first, second, skipped, *_ = found.rows
    assert (first.annotator, first.cost, first.path) == ("7", 0.25, "a.png")
    assert (first.labeled_at, second.labeled_at) == ("2030-01-31T12:00:00+00:00", "2030-01-31T00:00:00+00:00")
    assert (second.cost, skipped.line) == (0.5, 5)


def test_what_a_spreadsheet_made_of_names_is_refused_with_its_row(tmp_path: Path) -> None:
    path = book(
        tmp_path / "b.xlsx",
        ["path", "label"],
        ["a.png", date(2030, 2, 1)],
        [datetime(2030, 2, 1), "cat"],
        ["c.png", "=1/0"],
        ["d.png", "cat"],
    )
    found = read(path)
    assert answers(found) == [("d.png", "cat")]
    assert [str(problem) for problem in found.problems] == [
        "row 2: label is a date (2030-02-01 00:00:00): a spreadsheet has made it of a text; "
        "format the column as text and enter it again",
        "row 3: path is a date (2030-02-01 00:00:00): a spreadsheet has made it of a text; "
        "format the column as text and enter it again",
        "row 4: label has a formula that was never computed",
    ]


def test_the_first_visible_sheet_that_has_the_columns(tmp_path: Path) -> None:
    made = openpyxl.Workbook()
    made.active.append(["notes"])
    hidden = made.create_sheet("old")
    hidden.append(["path", "label"])
    hidden.append(["old.png", "cat"])
    hidden.sheet_state = "hidden"
    shown = made.create_sheet("new")
    shown.append([None, "path", None, "label"])
    shown.append(["x", "new.png", "y", "dog"])
    made.save(tmp_path / "b.xlsx")
    assert answers(read(tmp_path / "b.xlsx")) == [("new.png", "dog")]
    none = book(tmp_path / "n.xlsx", ["notes", "Labels"])
    with pytest.raises(BadInputError, match=r"found the columns 'notes', 'Labels'[^\0]*meant to be 'label'"):
        read(none)
    twice = book(tmp_path / "t.xlsx", ["path", "label", "Label "])
    with pytest.raises(BadInputError, match="'label' twice"):
        read(twice)


cells = (
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(-1e9, 1e9)
    | st.datetimes(datetime(1901, 1, 1), datetime(2200, 1, 1)).map(lambda moment: moment.replace(microsecond=0))
    | st.text(
        st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs", "Cc", "Cn"]),
        min_size=1,
        max_size=5,
    ).filter(lambda text: not text.startswith("=") and "_x" not in text)
)


@given(st.lists(st.lists(cells, min_size=1, max_size=4), min_size=1, max_size=4))
@settings(max_examples=40)
def test_cells_are_what_openpyxl_wrote_and_reads(rows: list[list[object]]) -> None:
    buffer = io.BytesIO()
    made = openpyxl.Workbook()
    for row in rows:
        made.active.append(row)
    made.save(buffer)
    theirs = openpyxl.load_workbook(io.BytesIO(buffer.getvalue())).active.iter_rows(values_only=True)
    found = Workbook("b", Archive(TextInput("b", buffer.getvalue())))
    ours = {number: list(cells) for number, cells in found.rows(found.sheets[0])}
    for number, row in enumerate(theirs, 1):
        mine = ours.get(number, [])
        mine += [None] * (len(row) - len(mine))
        for cell, expected in zip(mine, row, strict=True):
            if isinstance(expected, datetime):
                assert isinstance(cell, datetime)
                assert abs((cell - expected).total_seconds()) < 1
            else:
                assert cell == expected
                assert isinstance(cell, bool) == isinstance(expected, bool)


def by_hand(path: Path) -> Path:
    """As Excel writes it, with shared texts (one of several runs, with its pronunciation) and prefixed elements."""
    files = {
        "[Content_Types].xml": "<Types/>",
        "xl/workbook.xml": '<workbook xmlns:r="u"><workbookPr date1904="1"/><sheets>'
        '<sheet name="b" sheetId="1" r:id="rId7"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": '<Relationships><Relationship Id="rId7" Target="/xl/worksheets/sheet1.xml"/>'
        "</Relationships>",
        "xl/styles.xml": '<styleSheet><numFmts><numFmt numFmtId="164" formatCode="[Red]&quot;day&quot;0.00"/>'
        '<numFmt numFmtId="165" formatCode="yyyy\\-mm"/></numFmts><cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>'
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="165"/><xf numFmtId="14"/></cellXfs></styleSheet>',
        "xl/sharedStrings.xml": "<sst><si><t>path</t></si><si><t>label</t></si>"
        "<si><r><t>a</t></r><r><t>.png</t></r><rPh><t>no</t></rPh></si><si><t>cat</t></si></sst>",
        SHEET: '<x:worksheet xmlns:x="v"><x:sheetData><x:row r="1"><x:c r="A1" t="s"><x:v>0</x:v></x:c>'
        '<x:c r="C1" t="s"><x:v>1</x:v></x:c></x:row><x:row r="4"><x:c r="A4" t="s"><x:v>2</x:v></x:c>'
        '<x:c r="C4" t="s"><x:v>3</x:v></x:c></x:row><x:row><x:c t="str"><x:f>A1</x:f><x:v>b.png</x:v></x:c>'
        '<x:c/><x:c s="1"><x:v>1.0</x:v></x:c></x:row><x:row><x:c t="inlineStr"><x:is><x:t>c.png</x:t></x:is></x:c>'
        '<x:c/><x:c s="2"><x:v>1</x:v></x:c></x:row><x:row><x:c t="inlineStr"><x:is><x:t>d.png</x:t></x:is></x:c>'
        '<x:c/><x:c t="e"><x:v>#N/A</x:v></x:c></x:row></x:sheetData></x:worksheet>',
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_a_workbook_as_excel_writes_it(tmp_path: Path) -> None:
    found = read(by_hand(tmp_path / "b.xlsx"))
    assert [(row.line, row.sample_ref, row.label) for row in found.rows] == [(4, "a.png", "cat"), (5, "b.png", "1")]
    assert [str(problem).split(":")[:2] for problem in found.problems] == [
        ["row 6", " label is a date (1904-01-02 00"],
        ["row 7", " label is #N/A"],
    ]


def changed(path: Path, name: str, old: bytes, new: bytes) -> TextInput:
    """A workbook one of whose files says something else."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(buffer, "w") as copy:
        for info in whole.infolist():
            data = whole.read(info)
            assert info.filename != name or old in data
            copy.writestr(info.filename, data.replace(old, new) if info.filename == name else data)
    return TextInput("labels", buffer.getvalue())


SHEET = "xl/worksheets/sheet1.xml"


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        (SHEET, b"<x:v>0</x:v>", b"<x:v>77</x:v>", "is not among those of the workbook"),
        (SHEET, b'r="A4"', b'r="XYZ4"', "is in no column that there can be"),
        (SHEET, b'r="A4"', b'r="A-4"', "is nowhere"),
        (SHEET, b"</x:row>", b"", "mismatched tag"),
        ("xl/sharedStrings.xml", b"<sst", b"<!DOCTYPE a><sst", "document type declaration"),
        (SHEET, b"<x:worksheet", b"<!DOCTYPE a><x:worksheet", "document type declaration"),
        ("xl/workbook.xml", b"<sheet ", b"<chart ", "has no sheets"),
    ],
)
def test_damaged_workbooks(tmp_path: Path, name: str, old: bytes, new: bytes, says: str) -> None:
    with pytest.raises(BadInputError) as caught:
        read_labels(changed(by_hand(tmp_path / "b.xlsx"), name, old, new))
    assert says in str(caught.value)


@given(st.data())
@settings(max_examples=60)
def test_sheets_in_which_anything_stands_anywhere(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = by_hand(tmp_path_factory.mktemp("book") / "b.xlsx")
    name = data.draw(st.sampled_from(sorted(zipfile.ZipFile(path).namelist())))
    whole = zipfile.ZipFile(path).read(name)
    start = data.draw(st.integers(0, len(whole) - 1))
    put = data.draw(st.sampled_from([b"", b"<", b">", b'"', b"9", b"-", b"e", b"\xff", b"s", b"99999999999"]))
    damaged = whole[:start] + put + whole[start + data.draw(st.integers(0, 3)) :]
    try:
        found = read_labels(changed(path, name, whole, damaged))
    except BadInputError as error:
        assert "labels" in error.message
    else:
        assert all(str(problem).startswith("row ") for problem in found.problems)


def test_a_workbook_that_grows_without_end(tmp_path: Path) -> None:
    path = book(tmp_path / "b.xlsx", ["path", "label"], ["a.png", "cat"])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("xl/media/bomb", "w") as bomb:
        for _ in range(9):
            bomb.write(bytes(1 << 23))
    with pytest.raises(BadInputError, match="would unpack to"):
        read(path)


def test_other_office_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b.ods", "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", "<office/>")
    with pytest.raises(BadInputError, match=r"is an OpenDocument file\.\nSave it as \.xlsx"):
        read(tmp_path / "b.ods")
    (tmp_path / "b.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500))
    with pytest.raises(BadInputError, match=r"is an old Excel workbook \(\.xls\)"):
        read(tmp_path / "b.xls")

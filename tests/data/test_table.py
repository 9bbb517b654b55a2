import csv
import io

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dalcli.data.table import Record, TextTable, csv_text, read_table
from dalcli.data.text import TextInput
from dalcli.errors import BadInputError


def table_of(text: str | bytes) -> TextTable:
    return read_table(TextInput("t.csv", text.encode() if isinstance(text, str) else text))


def records_of(text: str | bytes) -> list[Record]:
    return list(table_of(text))


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8) | st.sampled_from(
    ["", " ", "000001", "1e5", "NA", "a,b", "a;b", "a\tb", '"', "line\nbreak", "cr\rhere", "crlf\r\n", "caf\u00e9"]
)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    width = draw(st.integers(2, 4))
    return draw(st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=6))


@given(
    rows=tables(),
    delimiter=st.sampled_from([",", ";", "\t"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
@settings(max_examples=300, deadline=None)
def test_what_the_csv_module_writes_comes_back(
    rows: list[list[str]], delimiter: str, encoding: str, end: str, quoting: int
) -> None:
    header = [f"column {index}" for index in range(len(rows[0]))]
    # A lone carriage return is only quoted by the csv module if it is part of the line end.
    quoting = csv.QUOTE_ALL if any("\r" in cell for row in rows for cell in row) else quoting
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerow(header)
    expected = []
    line = 2
    for row in rows:
        before = text.tell()
        writer.writerow(row)
        if any(cell.strip() for cell in row):
            expected.append(Record(line, dict(zip(header, row, strict=True))))
        text.seek(before)
        written = text.read()
        line += written.replace("\r\n", "\n").replace("\r", "\n").count("\n")
    table = table_of(text.getvalue().encode(encoding))
    assert table.delimiter == delimiter
    if expected:
        assert list(table) == expected
    else:
        with pytest.raises(BadInputError, match="no rows"):
            list(table)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system(end: str) -> None:
    assert records_of(end.join(["a,b", "1,2", "", "3,4", ""])) == [
        Record(2, {"a": "1", "b": "2"}),
        Record(4, {"a": "3", "b": "4"}),
    ]


def test_the_delimiter_is_that_of_the_header_outside_quotes() -> None:
    assert table_of('"a,b,c";d\n1;2\n').delimiter == ";"
    assert table_of("path\tlabel, please\n1\t2\n").columns == ("path\tlabel", "please")  # a tie goes to the comma
    assert table_of('"path"\t"label"\n1\t2\n').columns == ("path", "label")
    assert table_of("path\na;b\n").delimiter == ","


def test_a_quoted_header_may_contain_line_breaks() -> None:
    assert records_of('"multi\nline";b\n1;2\n') == [Record(3, {"multi\nline": "1", "b": "2"})]


def test_column_names_are_compared_without_case_and_spaces() -> None:
    table = table_of("  Path , LABEL\nx, y \n")
    assert table.columns == ("path", "label")
    assert table.header == ("Path", "LABEL")
    assert list(table) == [Record(2, {"path": "x", "label": " y "})]


def test_columns_without_a_name_are_ignored() -> None:
    assert records_of(",path,,\n0,a.png,,\n") == [Record(2, {"path": "a.png"})]


def test_blank_rows_are_skipped_and_lines_still_counted() -> None:
    text = '\n  \na,b\n\n1,"x\ny"\n,\n  \n2,3\n'
    assert records_of(text) == [Record(5, {"a": "1", "b": "x\ny"}), Record(9, {"a": "2", "b": "3"})]


def test_ragged_rows_say_so_and_do_not_stop_the_reading() -> None:
    assert records_of("a,b\n1\n1,2,3\n1,2\n") == [
        Record(2, {}, "has 1 cell where the header has 2"),
        Record(3, {}, "has 3 cells where the header has 2"),
        Record(4, {"a": "1", "b": "2"}),
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "  \r\n", "\ufeff"])
def test_empty_files_are_refused(text: str) -> None:
    with pytest.raises(BadInputError, match=r"t\.csv is empty"):
        table_of(text)


def test_a_header_alone_is_refused_but_readable() -> None:
    table = table_of("path,label\n\n")
    assert table.columns == ("path", "label")
    with pytest.raises(BadInputError, match="header but no rows"):
        list(table)


def test_a_column_twice_is_refused() -> None:
    with pytest.raises(BadInputError, match="'label' twice"):
        table_of("label,path,Label \n1,2,3\n")


def test_an_open_quote_is_found_where_it_starts() -> None:
    with pytest.raises(BadInputError, match="line 3: a quoted cell is never closed"):
        records_of('a,b\n1,2\n3,"4\n5,6\n7,8\n')


def test_text_after_a_closing_quote_is_refused() -> None:
    with pytest.raises(BadInputError, match="line 2: badly quoted"):
        records_of('a,b\n"1"x,2\n')


def test_cells_longer_than_pythons_default_are_read_and_endless_ones_refused() -> None:
    long = "x" * 300_000
    assert records_of(f"a,b\n{long},1\n")[0].cells["a"] == long
    endless = "y" * (1 << 24)
    with pytest.raises(BadInputError, match="line 2: a cell is longer"):
        records_of(f'a,b\n1,"{endless}z"\n')


def test_wrong_encoding_in_a_late_row_is_refused_while_reading() -> None:
    data = b"a,b\n" + b"1,2\n" * 50_000 + b"caf\xe9,2\n"
    with pytest.raises(BadInputError, match="line 50002"):
        records_of(data)


def test_reading_is_lazy() -> None:
    table = table_of(b"a,b\n" + b"1,2\n" * 100_000 + b"\xff")
    assert next(iter(table)) == Record(2, {"a": "1", "b": "2"})


def test_one_of_several_columns() -> None:
    table = table_of("path,image,label\n1,2,3\n")
    assert table.only(["label", "class"]) == "label"
    assert table.only(["split"]) is None
    assert table.present(["image", "x", "path"]) == ["image", "path"]
    with pytest.raises(BadInputError, match="'path', 'image' mean the same"):
        table.only(["path", "image"])


def test_a_missing_column_is_explained() -> None:
    error = table_of("Labels,file\n1,2\n").lacks(["label"])
    assert error.message == "t.csv: found the columns 'Labels', 'file'."
    assert error.remedy == "It needs a column 'label' (is 'Labels' meant to be 'label'?)."
    assert "comma, semicolon, tab or |" in (table_of("path/label\n1/2\n").lacks(["path", "image"]).remedy or "")


@given(rows=tables())
@settings(max_examples=200, deadline=None)
def test_what_is_written_comes_back_to_the_csv_module_and_to_us(rows: list[list[str]]) -> None:
    header = [f"column {index}" for index in range(len(rows[0]))]
    text = csv_text(header, rows)
    assert list(csv.reader(io.StringIO(text, newline=""))) == [header, *rows]
    filled = [row for row in rows if any(cell.strip() for cell in row)]
    assume(filled)  # a table without rows is refused
    assert [list(record.cells.values()) for record in records_of(text)] == filled


def test_written_cells_are_quoted_only_where_needed_and_nothing_is_an_empty_cell() -> None:
    rows = [(None, 0.1, 7), ("a,b", 'say "x"', "two\nlines"), ("one\rcarriage", "é", "")]
    assert csv_text(("a", "b", "c"), rows) == ('a,b,c\n,0.1,7\n"a,b","say ""x""","two\nlines"\n"one\rcarriage",é,\n')

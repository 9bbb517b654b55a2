import csv
import io
import os
from dataclasses import asdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dalcli.formats.batch_csv import COLUMNS, CsvRow, render_batch
from dalcli.formats.cells import guarded, unguarded

ID = f"s-{'0' * 32}"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["a,b", 'say "x"', "new\nline", "cr\ronly", "=1+1", " spaces ", "é🐈", "a;b", "a\tb"]
)
floats = st.none() | st.floats(allow_nan=False)


def test_exactly_these_columns() -> None:
    assert render_batch([]) == b"sample_id,path,rank,score,pseudo_label,confidence,strategy,arm,batch_id,label\n"


def test_a_row_byte_for_byte() -> None:
    rows = [
        CsvRow(ID, "sub/a.png", 1, 0.1, "cat", 1 / 3, "dynamical", "active", "b-0001"),
        CsvRow(ID, 'say "x", é', 2, None, None, None, "random", "control", "b-0001"),
    ]
    _, first, second, end = render_batch(rows).split(b"\n")
    assert first == f"{ID},sub/a.png,1,0.1,cat,0.3333333333333333,dynamical,active,b-0001,".encode()
    assert second == f'{ID},"say ""x"", é",2,,,,random,control,b-0001,'.encode()
    assert end == b""


@given(
    st.builds(CsvRow, st.just(ID), texts, st.integers(1, 10**6), floats, st.none() | texts, floats, texts, texts, texts)
)
def test_every_cell_comes_back_exactly(row: CsvRow) -> None:
    text = render_batch([row]).decode("utf-8")
    (cells,) = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    expected = asdict(row)
    assert tuple(cells) == COLUMNS == tuple(expected)
    for column in ("score", "confidence"):
        number = expected.pop(column)
        assert (float(cells.pop(column)) if number is not None else cells.pop(column)) == (
            number if number is not None else ""
        )
    read = {column: cell if column == "rank" else unguarded(cell) for column, cell in cells.items()}
    assert read == {column: "" if value is None else str(value) for column, value in expected.items()}


def test_numpy_numbers_are_numbers() -> None:
    row = CsvRow(ID, "a.png", np.int64(3), np.float64(0.1), None, np.float64(1e-17), "s", "active", "b")  # type: ignore[arg-type]
    assert b",3,0.1,,1e-17," in render_batch([row])


def test_no_spreadsheet_runs_a_cell() -> None:
    rows = [
        CsvRow(ID, "=cmd().png", 1, -0.5, "+cat", None, "s", "active", "b"),
        CsvRow(ID, "@a.png", 2, None, "-1", None, "s", "active", "b"),
        CsvRow(ID, "'=a.png", 3, None, "'cat", None, "s", "active", "b"),
    ]
    assert render_batch(rows).decode().splitlines()[1:] == [
        f"{ID},'=cmd().png,1,-0.5,'+cat,,s,active,b,",
        f"{ID},'@a.png,2,,'-1,,s,active,b,",
        f"{ID},''=a.png,3,,'cat,,s,active,b,",
    ]


@given(texts | st.text("'=+-@\ta", max_size=5))
def test_a_guarded_cell_is_read_back_as_it_was(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert guarded(text)[:1] not in {"=", "+", "-", "@", "\t", "\r"} or not guarded(text)


def test_undecodable_file_names_are_escaped_and_the_file_stays_utf8() -> None:
    row = CsvRow(ID, os.fsdecode(b"caf\xe9.png"), 1, None, None, None, "s", "active", "b")
    assert ",caf\\udce9.png,1," in render_batch([row]).decode("utf-8")

import codecs
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalcli.data.text import TextInput
from dalcli.errors import BadInputError


def lines_of(data: bytes) -> list[str]:
    return list(TextInput("<stdin>", data).lines())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_that_are_understood(encoding: str) -> None:
    assert lines_of("é,ü\n日本,🐈\n".encode(encoding)) == ["é,ü\n", "日本,🐈\n"]


@pytest.mark.parametrize("mark, codec", [(codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")])
def test_utf16_of_both_byte_orders(mark: bytes, codec: str) -> None:
    assert lines_of(mark + "a\r\né".encode(codec)) == ["a\r\n", "é"]


def test_all_line_ends_and_only_line_ends_end_lines() -> None:
    assert lines_of("a\nb\r\nc\rd\x0be\u2028f\x85g".encode()) == ["a\n", "b\r\n", "c\r", "d\x0be\u2028f\x85g"]


@given(
    good=st.lists(st.sampled_from(["x\n", "é\r\n", "\r", "\n", "long " * 9000 + "\n"]), max_size=12),
    rest=st.sampled_from([b"", b"\n", b"fine\n\n"]),
)
@settings(deadline=None)
def test_bytes_that_are_not_utf8_are_refused_naming_the_line(good: list[str], rest: bytes) -> None:
    text = "".join(good)
    line = 1 + text.replace("\r\n", "\n").replace("\r", "\n").count("\n")
    with pytest.raises(BadInputError) as caught:
        lines_of(text.encode() + "caf\xe9".encode("latin-1") + rest)
    assert caught.value.message == f"<stdin>, line {line}: not UTF-8 text."
    assert "UTF-8" in (caught.value.remedy or "")


def test_a_cut_off_character_at_the_end_is_refused() -> None:
    with pytest.raises(BadInputError, match="line 2: not UTF-8"):
        lines_of("a\né".encode()[:-1])


def test_nul_characters_are_refused_naming_the_line() -> None:
    with pytest.raises(BadInputError, match="line 2: contains a NUL"):
        lines_of(b"a,b\nc\0,d\n")
    with pytest.raises(BadInputError, match="line 1: contains a NUL"):
        lines_of("a,b\n".encode("utf-16-le"))  # without its byte order mark


def test_spreadsheets_and_utf32_are_named() -> None:
    with pytest.raises(BadInputError, match="spreadsheet"):
        lines_of(b"PK\x03\x04rest of an xlsx file")
    with pytest.raises(BadInputError, match="UTF-32"):
        lines_of("a,b\n".encode("utf-32"))


def test_files_that_are_not_there_or_not_files(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no such file"):
        TextInput.from_path(tmp_path / "labels.csv")
    with pytest.raises(BadInputError, match="is a folder"):
        TextInput.from_path(tmp_path)
    file = tmp_path / "labels.csv"
    file.write_text("a\n")
    source = TextInput.from_path(file)
    file.unlink()
    with pytest.raises(BadInputError, match="no such file"):
        source.head()


def test_a_file_can_be_read_again_and_a_pipe_too(tmp_path: Path) -> None:
    file, pipe = tmp_path / "a.csv", tmp_path / "pipe"
    file.write_bytes(b"a\nb\n")
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"a\nb\n",))
    writer.start()
    for path in (file, pipe):
        source = TextInput.from_path(path)
        assert source.head(2) == b"a\n"
        assert list(source.lines()) == list(source.lines()) == ["a\n", "b\n"]
    writer.join()

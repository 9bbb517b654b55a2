"""``docs/architecture.md`` leads to files that are there, through every room, in two pages."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(dalcli/[^`]*)`", TEXT)))


def test_every_file_that_it_names_exists() -> None:
    assert len(NAMED) > 40
    assert [name for name in NAMED if not (ROOT / name).exists()] == []


def test_every_room_of_the_contract_is_in_it() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    rooms = [room.strip() for layer in layers for room in layer.split("|")]
    assert [room for room in rooms if f"`{room}`" not in TEXT and f"`dalcli/{room}.py`" not in TEXT] == []


def test_every_room_has_a_first_file_to_read() -> None:
    table = TEXT.split("## The rooms")[1].split("##")[0]
    rooms = {path.name for path in (ROOT / "dalcli").iterdir() if (path / "__init__.py").is_file()}
    assert {name.split("/")[1] for name in re.findall(r"`(dalcli/[^`]*/[^`]*)`", table)} == rooms


def test_it_stays_short() -> None:
    assert len(TEXT.split()) < 1400

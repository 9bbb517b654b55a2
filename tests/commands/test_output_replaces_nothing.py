"""``--output`` never replaces what cannot be made again: state, configuration, images."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.small_pools import SmallPool

COMMANDS = (
    ("report",),
    ("predict",),
    ("query", "--budget", "2"),
    ("run", "--budget", "2"),
    ("labels", "export"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_output_over_what_is_no_result_is_refused(trained: SmallPool, command: tuple[str, ...], tmp_path: Path) -> None:
    image = trained.path(trained.pool()[0])
    link = tmp_path / "harmless.csv"
    link.symlink_to(trained.root / "dalcli.yaml")
    disguised = tmp_path / "photo.csv"
    disguised.write_bytes(image.read_bytes())
    for place in (trained.root / ".dalcli/state.db", trained.root / "dalcli.yaml", image, link, disguised):
        before = place.read_bytes() if place.name != "state.db" else b""
        refused = trained.run(*command, "--output", str(place))
        assert (refused.code, "--output FILE" in refused.err) == (3, True), (place, refused)
        assert place.name == "state.db" or place.read_bytes() == before
    assert trained.json("status")["model"]["version"] == "m-0001"


def test_a_picture_of_the_report_is_refused_in_the_night_too(trained: SmallPool) -> None:
    image = trained.pool()[0]["path"]
    trained.configure(run={"report": image})
    before = (trained.root / image).read_bytes()
    ended = trained.run("run", "--budget", "2")
    assert ended.code == 3
    assert (trained.root / image).read_bytes() == before

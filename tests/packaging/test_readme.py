"""README's commands work as they are printed, on a folder of images."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import readme
from photos import write_labeler, write_photos
from repository import ROOT, environment, run

README = ROOT / "README.md"

SAMPLE = """\
# A page

<!-- test: skip -->
```bash
exit 9
```

```bash
dalcli init photos/ --classes red,green,blue
cd photos
```

```console
$ exit 8
```

Comes out in the folder that the block before went to.

```bash
cd ..
dalcli query --budget 4 > to_label.csv
```

```bash
dalcli ingest-labels labels.csv
dalcli status
```
"""


def follow(page: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a page's blocks beside ``photos/``: 40 tiny images of the classes that the page itself names."""
    named = re.search(r"--classes ([\w,]+)", page)
    assert named is not None, "the page makes no workspace"
    write_labeler(folder / "bin", write_photos(folder / "home" / "photos", 40, named[1].split(",")))
    (folder / "script.sh").write_text(readme.script(readme.blocks(page)), encoding="utf-8")
    return run(["bash", folder / "script.sh"], folder / "home", environment(folder / "bin"))


def test_every_block_of_readme_runs(tmp_path: Path) -> None:
    if not README.is_file():
        pytest.skip("there is no README.md")
    page = README.read_text(encoding="utf-8")
    result = follow(page, tmp_path)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    assert result.stderr.count("### line ") == len(readme.blocks(page)) > 0


def test_blocks_run_in_one_shell_and_the_labeler_answers_in_between(tmp_path: Path) -> None:
    result = follow(SAMPLE, tmp_path)
    assert result.returncode == 0, result.stderr
    assert "4 labels" in result.stdout
    assert (tmp_path / "home" / "dalcli.yaml").is_file()


def test_a_failing_command_fails_with_its_line(tmp_path: Path) -> None:
    result = follow(SAMPLE.replace("dalcli status", "false\ndalcli status"), tmp_path)
    assert result.returncode == 1
    assert re.findall(r"^### line (\d+)$", result.stderr, re.MULTILINE) == ["9", "20", "25"]


def test_a_failing_pipe_fails(tmp_path: Path) -> None:
    result = follow(SAMPLE.replace("dalcli status", "dalcli batch show b-9999 | cat"), tmp_path)
    assert result.returncode == 3


def test_only_bash_blocks_without_a_skip_mark_are_taken() -> None:
    found = readme.blocks(SAMPLE)
    assert [block.line for block in found] == [9, 20, 25]
    assert found[0].text == "dalcli init photos/ --classes red,green,blue\ncd photos"


@pytest.mark.parametrize(("page", "line"), [("text\n```bash\nls\n", 2), (f"{readme.SKIP}\n\n```bash\nls\n```\n", 1)])
def test_a_page_that_would_be_misread_is_refused(page: str, line: int) -> None:
    with pytest.raises(ValueError, match=f"line {line}:"):
        readme.blocks(page)

"""What a report is made of: one file, safe with any names, the same twice, honest about what is not known."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import io
import json
import re
import shutil
from pathlib import Path
from unittest import mock

import pytest
from dalcli_runner import environment, ok, run, run_process, write_labels
from PIL import Image
from planned_workspaces import planned
from report_pages import SECTIONS, document, page, read
from workspaces import make, session

from dalcli.report import diagnosing
from dalcli.report.markdown import escaped
from dalcli.report.thumbnails import MOST_BYTES, SIDE

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "\u202egnp.exe \u05e2\u05d1\u05e8\u05d9\u05ea",
    "x" * 300,
    "🦊🏳️‍🌈 | `code` *star* [a](http://example.org)",
    "{{ 7 * 7 }}{% raw %}",
    "bell\x07 escape\x1b[31m",
]


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planned(
        tmp_path_factory.mktemp("page") / "work", [60 * n for n in range(1, 13)], config="plan: {target: 0.9}"
    )


def hostile(root: Path) -> Path:
    """Classes, annotators and file names that nobody should have."""
    (root / "pictures").mkdir(parents=True)
    for number, name in enumerate(["<b>bold</b>", "a|b`c", "\u202eevil", "🦊", "y" * 200]):
        Image.new("RGB", (300, 200), (number * 40, 90, 10)).save(root / "pictures" / f"{name.replace('/', '_')}.png")
    (root / "dalcli.yaml").write_text("evaluation: {reserve: 0}\n")
    (root / "classes.txt").write_text("\n".join(HOSTILE) + "\n")
    ok(root, "init", "pictures", "--classes", "classes.txt")
    rows = ok(root, "query", "--budget", "3").rows
    lines = ["sample_id,label,annotator"]
    for row, label in zip(rows, HOSTILE, strict=False):
        cells = (row["sample_id"], label, label)
        lines += [",".join('"' + cell.replace('"', '""') + '"' for cell in cells)]
    (root / "l.csv").write_text("\n".join(lines) + "\n")
    ok(root, "ingest-labels", "l.csv")
    ok(root, "query", "--budget", "2")
    return root


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    root = hostile(tmp_path / "<i>work")
    text = ok(root, "report").out.decode()
    made = read(text)
    allowed = {
        "html", "head", "meta", "title", "style", "body", "a", "header", "main", "footer", "h1", "h2", "p", "div",
        "code",
        "dl", "dt", "dd", "nav", "ul", "li", "section", "table", "caption", "thead", "tbody", "tr", "th", "td", "bdi",
        "span", "img", "figure", "figcaption", "svg", "desc", "line", "circle", "rect", "text", "polygon", "polyline",
        "details", "summary",
    }  # fmt: skip
    assert {element.tag for element in made.all()} <= allowed
    assert not [e for e in made.all() for name in e.attributes if name.startswith("on") or name == "style"]
    names = [row[0] for row in made.one("section", id="classes").table("Classes")]
    visible = [" ".join(re.sub(r"[\x00-\x1f]", "", name).split()) for name in HOSTILE]
    assert sorted(names) == sorted(visible)
    people = [row[0] for row in made.one("section", id="annotators").table("Annotators")]
    assert "<script>alert(1)</script>" in people
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", text)
    for picture in made.all("img"):
        assert (picture.attributes["alt"] or "").startswith("rank ")
    for cell in made.all("td") + made.all("th"):
        assert not cell.text or cell.all("bdi") or cell.attributes.get("colspan")


def test_hostile_names_in_markdown_json_and_mail(tmp_path: Path) -> None:
    root = hostile(tmp_path / "work")
    text = ok(root, "report", "--format", "md").out.decode()
    assert "<script>" not in text.replace("\\<", "")
    for line in text.splitlines():
        if line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line)
            assert len(cells) >= 4
    classes = text[text.index("## Class by class") :].split("## ")[1]
    rows = [line for line in classes.splitlines() if line.startswith("|")]
    assert len({len(re.split(r"(?<!\\)\|", row)) for row in rows}) == 1
    names = {row["name"] for row in document(root)["classes"]}
    assert names == set(HOSTILE)
    mail = email.message_from_bytes(
        ok(root, "report", "--mail", "--to", "a@example.org").out, policy=email.policy.default
    )
    assert mail["To"] == "a@example.org"


def test_escaped_markdown_says_what_was_said() -> None:
    """By another implementation of Markdown, which comes with rich."""
    markdown_it = pytest.importorskip("markdown_it")
    for name in HOSTILE[:6]:
        shown = markdown_it.MarkdownIt("commonmark").parseInline(escaped(name))[0].children
        assert all(token.type in {"text", "text_special"} for token in shown), name
        assert "".join(token.content for token in shown) == name


def test_one_file_that_loads_nothing(twelve: Path) -> None:
    text = ok(twelve, "report").out.decode()
    made = read(text)
    addresses = [value for e in made.all() for name, value in e.attributes.items() if name in {"src", "href"}]
    assert all(value.startswith(("#", "data:image/jpeg;base64,")) for value in addresses if value)
    assert not re.search(r"url\(|@import|https?://", text)
    assert not made.all("script") and not made.all("link") and not made.all("iframe")
    policy = made.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"] or ""
    style = text[text.index("<style>") + 7 : text.index("</style>")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'") and f"style-src 'sha256-{digest}'" in policy
    assert "script-src" not in policy


def test_structure_for_readers(twelve: Path) -> None:
    made = page(twelve)
    ids = [e.attributes["id"] for e in made.all() if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    assert made.one("html").attributes["lang"] == "en"
    assert len(made.all("h1")) == 1
    assert [e.tag for e in made.all() if re.fullmatch("h[1-6]", e.tag)] == ["h1"] + ["h2"] * len(SECTIONS)
    skip = made.one("a", class_="skip").attributes["href"]
    assert skip == "#content" and made.one("main", id="content")
    for table in made.all("table"):
        assert table.one("caption").text
        assert all(head.attributes.get("scope") in {"col", "row", "colgroup"} for head in table.all("th"))
    for each in made.all("div", class_="scroll"):  # can be scrolled with the keyboard, and has a name
        assert each.attributes["tabindex"] == "0" and each.attributes["aria-label"]
    charts = [svg for svg in made.all("svg") if svg.has("class_", "chart")]
    assert charts
    for chart in charts:
        assert chart.attributes["role"] == "img"
        names = (chart.attributes["aria-labelledby"] or "").split()
        assert [e.attributes["id"] for e in (*chart.all("title"), *chart.all("desc"))] == names
        assert all(e.text for e in (*chart.all("title"), *chart.all("desc")))
    for image in made.all("img"):
        assert image.attributes["alt"]


def test_the_same_again(twelve: Path) -> None:
    for options in ([], ["--format", "md"], ["--json"], ["--mail", "--to", "a@example.org"]):
        assert ok(twelve, "report", *options).out == ok(twelve, "report", *options).out


def test_the_name_says_the_format(twelve: Path, tmp_path: Path) -> None:
    for name, start in (("r.html", "<!DOCTYPE html>"), ("r.md", "# Labeling report"), ("r.JSON", "{"), ("r", "<!DOC")):
        outcome = ok(twelve, "report", "--output", tmp_path / name)
        assert outcome.out == b""
        assert (tmp_path / name).read_text().startswith(start)
    ok(twelve, "report", "--format", "json", "-o", tmp_path / "x.html")
    assert json.loads((tmp_path / "x.html").read_text())["workspace"] == "work"


def test_no_rounds_at_all_is_said_plainly(tmp_path: Path) -> None:
    made = page(make(tmp_path / "work"))
    for name in SECTIONS:
        if name not in {"what-next", "classes", "made-with"}:
            assert made.one("section", id=name).all("p", class_="missing"), name
    assert "2 classes have no training label: cat, dog" in made.one("section", id="classes").text
    assert "no evaluation labels" in made.one("div", id="verdict").text


def test_no_image_and_no_class_example(tmp_path: Path) -> None:
    root = make(tmp_path / "work", 1)
    Path(root / "photos" / "0.png").unlink()
    assert [each.attributes["id"] for each in page(root).all("section")] == SECTIONS


def test_images_that_vanished_or_broke_say_so(tmp_path: Path) -> None:
    root = make(tmp_path / "work", 4)
    rows = ok(root, "query", "--budget", "4").rows
    (root / rows[0]["path"]).unlink()
    (root / rows[1]["path"]).write_bytes(b"not any more")
    made = page(root).one("section", id="next-batch")
    pictures = made.one("ul", class_="sheet").all("li")
    said = [p.one("div", class_="frame").text for p in pictures]
    assert said == [
        "Cannot be shown: the file is missing",
        "Cannot be shown: the content changed since registration",
        "",
        "",
    ]
    assert len(made.all("img")) == 2
    sheet = document(root)["sheets"][0]
    assert [p["problem"] for p in sheet["pictures"]][:2] == [
        "the file is missing",
        "the content changed since registration",
    ]


def test_pictures_are_small_upright_and_without_metadata(tmp_path: Path) -> None:
    root = tmp_path / "work"
    (root / "photos").mkdir(parents=True)
    picture = Image.effect_noise((1600, 900), 120).convert("RGB")
    picture.paste((255, 0, 0), (0, 0, 1600, 300))  # red above, before it is turned
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: red is on the right then
    exif[0x010F] = "SECRET CAMERA"
    picture.save(root / "photos" / "turned.jpg", quality=95, exif=exif)
    Image.new("RGBA", (10, 6), (0, 0, 255, 128)).save(root / "photos" / "tiny.png")
    (root / "dalcli.yaml").write_text("evaluation: {reserve: 0}\n")
    ok(root, "init", "photos", "--classes", "a,b")
    rows = ok(root, "query", "--budget", "2").rows
    images = page(root).one("section", id="next-batch").all("img")
    found = {}
    for row, image in zip(rows, images, strict=True):
        data = base64.b64decode((image.attributes["src"] or "").partition(",")[2])
        assert len(data) <= MOST_BYTES and b"SECRET" not in data and b"Exif" not in data
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
            assert opened.format == "JPEG"
            assert (str(opened.width), str(opened.height)) == (image.attributes["width"], image.attributes["height"])
            found[Path(row["path"]).name] = opened.copy()
    turned = found["turned.jpg"]
    assert turned.size == (SIDE * 9 // 16, SIDE)
    red, green, _ = turned.getpixel((turned.width - 5, turned.height // 2))
    assert red > 200 and green < 70
    assert found["tiny.png"].size == (10, 6)  # never enlarged


def test_how_many_pictures(tmp_path: Path) -> None:
    root = make(tmp_path / "work", 12)
    ok(root, "query", "--budget", "10")
    assert len(page(root, "--thumbnails", "3").all("img")) == 3
    assert "7 more are not shown" in page(root, "--thumbnails", "3").one("section", id="next-batch").text
    assert len(page(root, "--thumbnails", "0").all("img")) == 0


def test_suspects_and_their_age(tmp_path: Path) -> None:
    from dalcli.state import ledger, suspicions
    from dalcli.state.suspicions import Finding, Suspect

    root = make(tmp_path / "work", 12)
    rows = ok(root, "query", "--budget", "6").rows
    write_labels(root / "l.csv", rows, all_of_them="cat")
    ok(root, "ingest-labels", "l.csv")
    with session(root) as opened, opened.database.write() as connection:
        key = next(iter(ledger.labels(connection, "training")))
        found = (Suspect(key, 0, 1, 0.004, 0.97, "m-0001"),)
        suspicions.store(connection, Finding(suspicions.labels_digest(connection), "x", 6, 0, found))
    shown = page(root).one("section", id="suspects")
    assert "6 labels were checked" in shown.text and "label: cat, below 1%" in shown.text
    assert "model: dog, 97%" in shown.text and "Labels have changed" not in shown.text
    more = ok(root, "query", "--budget", "1").rows
    write_labels(root / "m.csv", more, all_of_them="dog")
    ok(root, "ingest-labels", "m.csv")
    assert "Labels have changed since" in page(root).one("section", id="suspects").text


def test_a_diagnosis_is_kept_with_its_version(twelve: Path, tmp_path: Path) -> None:
    from dalcli.diagnosis.result import Finding
    from dalcli.state.database import Database

    root = tmp_path / "copy"
    shutil.copytree(twelve, root)
    result = mock.Mock(version="m-0007", findings=(Finding("Has training converged?", "no", "3 epochs <b>"),))
    with Database(root / ".dalcli" / "state.db") as database, database.write() as connection:
        diagnosing.keep(connection, result)
        before = diagnosing.last(connection)
        diagnosing.keep(connection, result)
        assert diagnosing.last(connection) == before
    shown = page(root).one("section", id="diagnosis")
    (row,) = shown.table("dalcli diagnose, m-0007")
    assert row[:2] == ["Has training converged?", "no"] and row[3] == "3 epochs <b>."
    assert "Training stopped before it was done" in row[2]
    assert "the newest model is m-0012" in shown.text


def test_every_answer_of_a_diagnosis_has_a_meaning(scored: object) -> None:
    """With a real diagnosis: questions that were worded anew would have none."""
    pool: object = scored
    pool.ok("query", "--budget", "4")  # type: ignore[attr-defined]
    text = pool.ok("report", "--diagnose", "--format", "html").out  # type: ignore[attr-defined]
    rows = read(text).one("section", id="diagnosis").table("dalcli diagnose, m-0001")
    assert len(rows) == 4
    assert all(row[2] for row in rows)
    again = pool.ok("report").out  # type: ignore[attr-defined]
    assert read(again).one("section", id="diagnosis").table("dalcli diagnose, m-0001") == rows


def test_the_message(twelve: Path) -> None:
    out = ok(
        twelve, "report", "--mail", "--to", "boss@example.org", "--to", "b@example.org", "--from", "me@example.org"
    ).out
    assert b"\r" not in out and all(len(line) <= 998 for line in out.split(b"\n"))
    mail = email.message_from_bytes(out, policy=email.policy.default)
    assert mail["To"] == "boss@example.org, b@example.org" and mail["From"] == "me@example.org"
    plan = ok(twelve, "plan", "--json").json
    assert mail["Subject"].startswith("work: ") and plan["reason"][1:60] in mail["Subject"]
    assert mail.get_content_type() == "multipart/mixed" and not mail.defects
    text, attached = mail.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert text.get_content().rstrip() == ok(twelve, "report", "--format", "md").out.decode().rstrip()
    assert attached.get_content_type() == "text/html" and attached.get_filename() == "report.html"
    assert attached.get_payload(decode=True) == ok(twelve, "report").out


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--mail"], 2, "--to"),
        (["--to", "a@example.org"], 2, "--mail"),
        (["--mail", "--to", "a@example.org\nBcc: b@example.org"], 2, "not an address"),
        (["--mail", "--to", "Boss <boss@example.org>"], 2, "not an address"),
        (["--mail", "--to", "a@example.org", "--format", "md"], 2, "one format"),
        (["--json", "--format", "md"], 2, "one format"),
        (["--format", "pdf"], 2, "pdf"),
        (["--thumbnails", "61"], 2, "0 to 60"),
        (["--thumbnails", "-1"], 2, "0 to 60"),
        (["--target", "1.5"], 2, "--target"),
        (["--output", "nowhere/r.html"], 3, "no such folder"),
        (["--output", "."], 3, "is a folder"),
    ],
)
def test_misuse(twelve: Path, options: list[str], code: int, said: str) -> None:
    outcome = run(twelve, "report", *options)
    assert outcome.code == code, outcome
    assert said in outcome.err


def test_no_workspace(tmp_path: Path) -> None:
    assert run(tmp_path, "report").code == 5


def test_a_target_of_its_own(twelve: Path) -> None:
    assert document(twelve, "--target", "0.99")["plan"] == ok(twelve, "plan", "--target", "0.99", "--json").json


def test_a_full_disk_leaves_the_old_report(twelve: Path, tmp_path: Path) -> None:
    file = tmp_path / "r.html"
    file.write_text("the old one")
    with mock.patch("dalcli.state.atomic._sync_file", side_effect=OSError(28, "No space left on device")):
        outcome = run(twelve, "report", "-o", file)
    assert outcome.code == 1
    assert file.read_text() == "the old one"
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


def test_an_output_that_nobody_may_write(twelve: Path) -> None:
    outcome = run(twelve, "report", "-o", "/proc/r.html")
    assert outcome.code == 3 and "/proc: cannot be written to" in outcome.err


@pytest.mark.parametrize(
    ("name", "options", "said", "aloud"),
    [
        ("r.html", (), "HTML", False),
        ("r.HTM", (), "HTML", False),
        ("r.md", (), "Markdown", False),
        ("r", (), "HTML", False),
        ("r.txt", (), "HTML", True),
        ("r.html", ("--json",), "JSON", True),
        ("r.eml", ("--mail", "--to", "a@example.com"), "a message", False),
    ],
)
def test_what_was_written_is_told(
    twelve: Path, tmp_path: Path, name: str, options: tuple[str, ...], said: str, aloud: bool
) -> None:
    file = tmp_path / name
    told = ok(twelve, "report", "--thumbnails", "0", "-o", file, *options).err
    assert f"{file}: {said}, {file.stat().st_size / 1000:,.0f} kB" in told
    quiet = ok(twelve, "report", "--thumbnails", "0", "-o", file, "--quiet", *options).err
    assert (said in quiet) == aloud


def test_a_reader_that_goes_away(twelve: Path) -> None:
    outcome = run_process(twelve, "report", env=environment())
    assert outcome.code == 0 and outcome.out.startswith(b"<!DOCTYPE")


def test_labels_that_come_in_meanwhile_make_it_begin_again(tmp_path: Path) -> None:
    """The parts of a report are of one moment: another process records labels while it is made."""
    from dalcli.report import gather

    root = make(tmp_path / "work", 8)
    rows = ok(root, "query", "--budget", "4").rows
    write_labels(root / "l.csv", rows, all_of_them="cat")
    calls = []
    plan = gather.plan

    def interrupted(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            assert run_process(root, "ingest-labels", "l.csv").code == 0
        return plan(*arguments)  # type: ignore[arg-type]

    with mock.patch.object(gather, "plan", interrupted):
        made = document(root)
    assert len(calls) == 2
    assert made["loop"]["labels_per_class"]["cat"] == made["plan"]["standing"]["labels_now"] == 4
    assert made["loop"]["open_batches"] == []

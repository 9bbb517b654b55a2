"""How long label files of every format take, and how much memory: the real command on a pool of as many samples.

    python benchmarks/label_formats.py [--rows N] [--formats NAME ...]

Every file answers all N samples of a workspace, by sample id where the tool keeps it and else by path, as voluminous as
the tool writes it (a Label Studio task has 1.3 kB). "ingest" is `dalcli ingest-labels FILE` in a process of its own, to
the last vote recorded, start of Python included; "cpu" is its processor time, which other programs disturb less;
"again" is the same command once more, which finds everything known; "MiB" is the peak of its memory. "print" is `dalcli
query --format NAME` for an open batch of all N, with its processor time and memory.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from dalcli.data.identity import sample_id
from dalcli.feedback import SilentFeedback
from dalcli.formats.batch_csv import COLUMNS, CsvRow, render_batch
from dalcli.formats.registry import BATCH_FORMATS, FORMATS
from dalcli.state import batches
from dalcli.state.batches import BatchOptions, BatchRow
from dalcli.workspace.session import open_session

CLASSES = ("cat", "dog")
RUN = """
import sys
from dalcli.cli.main import main
from dalcli.runtime.memory import peak_bytes
code = main(sys.argv[1:])
print("@", code, peak_bytes(), file=sys.stderr)
"""
Sample = tuple[str, str, str]  # sample id, path, label
Writer = Callable[[Path, Sequence[Sample]], Path]


def workspace(root: Path, rows: int) -> list[Sample]:
    """A workspace of ``rows`` samples whose bytes are their numbers; one batch of all of them is open."""
    (root / "photos").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(root / "photos" / "first.png")
    (root / "dalcli.yaml").write_text("evaluation:\n  reserve: 0\n")
    run(root, "init", "photos", "--classes", ",".join(CLASSES))
    samples = [
        (sample_id(str(n).encode()), f"pool/{n // 1000:03}/image {n:06}.jpg", CLASSES[n % 2]) for n in range(rows)
    ]
    with open_session(root, SilentFeedback()) as session, session.database.write() as connection:
        connection.executemany(
            "INSERT INTO sample (sample_id, purpose, reserve_position, width, height, added_at)"
            " VALUES (?, 'training', 0.5, 4, 4, '2030-01-01T00:00:00Z')",
            [(identity,) for identity, _, _ in samples],
        )
        connection.executemany(
            "INSERT INTO file (path, sample, size, mtime_ns, added_at)"
            " SELECT ?, id, 1, 1, '2030-01-01T00:00:00Z' FROM sample WHERE sample_id = ?",
            [(path, identity) for identity, path, _ in samples],
        )
        keys = {row["sample_id"]: row["id"] for row in connection.execute("SELECT id, sample_id FROM sample")}
        typed = {"purpose": "training", "budget": rows, "strategy": None, "gamma": None}
        options = BatchOptions(typed, {})
        batches.issue(
            connection,
            "b-0001",
            [
                BatchRow(n, keys[identity], 0.5, n % 2, 0.9, "random", "active")
                for n, (identity, _, _) in enumerate(samples, 1)
            ],
            render_batch(
                CsvRow(identity, path, n, 0.5, label, 0.9, "random", "active", "b-0001")
                for n, (identity, path, label) in enumerate(samples, 1)
            ),
            options=options,
            purpose="training",
            requested=rows,
            model=None,
            key="all",
        )
    return samples


def table(path: Path, samples: Sequence[Sample], delimiter: str = ",") -> Path:
    """Our own batch, filled in."""
    with path.open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file, delimiter=delimiter)
        write.writerow(COLUMNS)
        for n, (identity, name, label) in enumerate(samples, 1):
            write.writerow([identity, name, n, 0.5, "cat", 0.9, "random", "active", "b-0001", label])
    return path


def xlsx(path: Path, samples: Sequence[Sample]) -> Path:
    """The same as a workbook."""
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("batch")
    sheet.append(COLUMNS)
    for n, (identity, name, label) in enumerate(samples, 1):
        sheet.append([identity, name, n, 0.5, "cat", 0.9, "random", "active", "b-0001", label])
    book.save(path)
    return path


def json_lines(path: Path, lines: Iterator[object]) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    return path


def json_array(path: Path, items: Iterator[object]) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        file.writelines(("," if n else "") + json.dumps(item) for n, item in enumerate(items))
        file.write("]")
    return path


def label_studio_task(number: int, sample: Sample) -> dict[str, object]:
    """As its export has it."""
    identity, name, label = sample
    when = "2026-11-22T15:58:14.685256Z"
    value = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}
    prediction = {"id": number, "result": [value], "model_version": "m-0001", "score": 0.9, "created_at": when}
    annotation = {"id": number, "completed_by": 1, "result": [value], "was_cancelled": False, "ground_truth": False}
    annotation |= {"created_at": when, "updated_at": when, "draft_created_at": None, "lead_time": 1.5}
    annotation |= {"prediction": prediction, "result_count": 1, "unique_id": identity, "task": number, "project": 1}
    annotation |= dict.fromkeys(("import_id", "last_action", "parent_prediction", "parent_annotation"))
    data = {"image": f"/data/local-files/?d={name}", "sample_id": identity, "path": name, "rank": number}
    task = {"id": number, "annotations": [annotation], "file_upload": "9ce8a41b-tasks.json", "drafts": [], "data": data}
    return task | {
        "predictions": [number],
        "meta": {},
        "created_at": when,
        "total_annotations": 1,
        "comment_authors": [],
    }


def label_studio_row(number: int, sample: Sample) -> dict[str, object]:
    identity, name, label = sample
    when = "2026-11-22T15:58:14.685256Z"
    row: dict[str, object] = {
        "image": f"/data/local-files/?d={name}",
        "sample_id": identity,
        "path": name,
        "id": number,
    }
    row |= {"label": label, "annotator": 1, "annotation_id": number, "created_at": when, "updated_at": when}
    return row | {"lead_time": 1.5}


def label_studio_table(path: Path, samples: Sequence[Sample]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        write = csv.DictWriter(file, label_studio_row(1, samples[0]).keys(), quoting=csv.QUOTE_NONNUMERIC)
        write.writeheader()
        write.writerows(label_studio_row(n, sample) for n, sample in enumerate(samples, 1))
    return path


def cvat(path: Path, samples: Sequence[Sample]) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.write("<annotations>\n  <version>1.1</version>\n")
        for n, (_, name, label) in enumerate(samples):
            file.write(f'  <image id="{n}" name="{name}" width="4" height="4">\n')
            file.write(f'    <tag label="{label}" source="manual">\n    </tag>\n  </image>\n')
        file.write("</annotations>\n")
    return path


def datumaro(path: Path, samples: Sequence[Sample]) -> Path:
    items = [
        {"id": name[:-4], "annotations": [{"id": 0, "type": "label", "attributes": {}, "group": 0, "label_id": n % 2}]}
        | {"image": {"path": name, "size": [4, 4]}}
        for n, (_, name, _) in enumerate(samples)
    ]
    label = {"labels": [{"name": name, "parent": "", "attributes": []} for name in CLASSES]}
    path.write_text(json.dumps({"infos": {}, "categories": {"label": label}, "items": items}))
    return path


def image_folder(path: Path, samples: Sequence[Sample]) -> Path:
    for name in CLASSES:
        (path / name).mkdir(parents=True)
    for n, (_, _, label) in enumerate(samples):
        (path / label / f"{n}.jpg").write_bytes(str(n).encode())
    return path


def imagenet(path: Path, samples: Sequence[Sample]) -> Path:
    path.mkdir()
    (path / "synsets.txt").write_text("\n".join(CLASSES) + "\n")
    (path / "default.txt").write_text("".join(f'"{name}" {n % 2}\n' for n, (_, name, _) in enumerate(samples)))
    return path


def sagemaker_line(sample: Sample) -> dict[str, object]:
    identity, name, label = sample
    metadata = {"class-name": label, "confidence": 0.9, "type": "groundtruth/image-classification"}
    metadata |= {
        "job-name": "labeling-job/animals",
        "human-annotated": "yes",
        "creation-date": "2018-10-18T22:18:13.52",
    }
    return {"source-ref": f"s3://bucket/{name}", "sample_id": identity, "animals": 0, "animals-metadata": metadata}


def prodigy_line(sample: Sample) -> dict[str, object]:
    identity, name, label = sample
    options = [{"id": name, "text": name} for name in CLASSES]
    line: dict[str, object] = {"image": name, "options": options, "sample_id": identity, "_input_hash": -1761}
    return line | {"accept": [label], "answer": "accept", "_timestamp": 1667305201, "_annotator_id": "ann"}


def labelbox_line(sample: Sample) -> dict[str, object]:
    identity, name, label = sample
    radio = {"feature_id": "f2", "name": label, "value": label, "classifications": []}
    classifications = [{"feature_id": "f1", "name": "animal", "value": "animal", "radio_answer": radio}]
    details = {"created_at": "2023-10-13T16:13:24.000+00:00", "created_by": "ann@example.com", "reviews": []}
    one = {
        "label_kind": "Default",
        "id": "l1",
        "label_details": details,
        "performance_details": {"seconds_to_create": 3},
    }
    one |= {"annotations": {"objects": [], "classifications": classifications}}
    return {"data_row": {"id": "c", "global_key": identity, "external_id": name}, "projects": {"p": {"labels": [one]}}}


WRITERS: dict[str, Writer] = {
    "csv": table,
    "tsv": lambda path, samples: table(path, samples, "\t"),
    "xlsx": xlsx,
    "jsonl": lambda path, samples: json_lines(
        path, ({"sample_id": identity, "path": name, "label": label} for identity, name, label in samples)
    ),
    "label-studio": lambda path, samples: json_array(path, (label_studio_task(n, s) for n, s in enumerate(samples, 1))),
    "label-studio-min": lambda path, samples: json_array(
        path, (label_studio_row(n, s) for n, s in enumerate(samples, 1))
    ),
    "label-studio-table": label_studio_table,
    "cvat": cvat,
    "datumaro": datumaro,
    "imagefolder": image_folder,
    "imagenet-txt": imagenet,
    "sagemaker": lambda path, samples: json_lines(path, map(sagemaker_line, samples)),
    "prodigy": lambda path, samples: json_lines(path, map(prodigy_line, samples)),
    "labelbox": lambda path, samples: json_lines(path, map(labelbox_line, samples)),
}


def run(root: Path, *arguments: str) -> tuple[float, float, float]:
    """Seconds, seconds of processor time, and peak MiB of a command that must succeed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    start, before = time.perf_counter(), processor_seconds()
    command = [sys.executable, "-c", RUN, *arguments]
    ended = subprocess.run(command, cwd=root, env=environment, capture_output=True, check=False)
    seconds = time.perf_counter() - start
    last = ended.stderr.decode().splitlines()[-1].split()
    if ended.returncode or last[:2] != ["@", "0"]:
        raise SystemExit(ended.stderr.decode())
    return seconds, processor_seconds() - before, int(last[2]) / 2**20


def processor_seconds() -> float:
    """Of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(name: str, whole: Path, samples: Sequence[Sample], folder: Path) -> str:
    """A row of the table."""
    root = Path(shutil.copytree(whole, folder / "work"))
    file = WRITERS[name](folder / "labels", samples)
    megabytes = sum(found.stat().st_size for found in ([file] if file.is_file() else file.rglob("*.*"))) / 1e6
    printed = ""
    if name in BATCH_FORMATS:
        seconds, processor, mib = run(
            root, "query", "--new", "--key", "all", "--budget", str(len(samples)), "--format", name
        )
        printed = f"{seconds:>9.2f}{processor:>7.2f}{mib:>6.0f}"
    ingest, processor, mib = run(root, "ingest-labels", str(file), "--format", name)
    again, _, _ = run(root, "ingest-labels", str(file))
    return f"{name:<20}{megabytes:>8.1f}{ingest:>9.2f}{processor:>7.2f}{again:>9.2f}{mib:>6.0f}{printed}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row per format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--formats", nargs="+", choices=list(FORMATS), default=list(WRITERS))
    options = parser.parse_args(arguments)
    print(f"{'format':<20}{'MB':>8}{'ingest':>9}{'cpu':>7}{'again':>9}{'MiB':>6}{'print':>9}{'cpu':>7}{'MiB':>6}")
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        samples = workspace(whole, options.rows)
        for number, name in enumerate(options.formats):
            place = Path(folder) / str(number)
            place.mkdir()
            print(measure(name, whole, samples, place), flush=True)
            shutil.rmtree(place)


if __name__ == "__main__":
    main()

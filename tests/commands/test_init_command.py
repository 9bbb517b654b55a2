"""``init``: a workspace is there complete or not at all, and doing it again does nothing."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from dalcli_runner import message, ok, problems, run, start
from safetensors.numpy import save_file
from workspaces import ask, dump, ids, image, make, photos, session

from dalcli.state import classes


def test_says_what_it_made_and_chose(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 12)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    made = ok(tmp_path, "init", "photos", "--classes", "cat,dog,other", "--json")
    assert made.json["classes"] == ["cat", "dog", "other"]
    assert sum(made.json["states"]["training"].values()) + sum(made.json["states"]["evaluation"].values()) == 12
    assert (made.json["model"], made.json["image_size"]) == ("cnn", [4, 4])
    assert "chose model cnn at 4×4 pixels" in made.err
    assert "1 file that is no image was left out" in made.err
    assert "12 new samples" in made.err
    assert sorted(path.name for path in tmp_path.iterdir()) == [".dalcli", "dalcli.yaml", "photos"]
    assert [path.name for path in (tmp_path / ".dalcli").iterdir()] == ["state.db"]


def test_large_images_are_told_about_pretrained_weights(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (300, 300)).save(tmp_path / "large.png")
    made = ok(tmp_path, "init", "large.png", "--classes", "cat,dog")
    assert "resnet18 at 128×128" in made.out.decode()
    assert "pretrained" in made.err


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("name: resnett18", ("model.name: unknown model 'resnett18'", "did you mean 'resnet18'?")),
        ("name: efficientnet", ("model.name: unknown model 'efficientnet'", "did you mean 'efficientnet_b")),
        ("name: nowhere:net", ("model.name: no module named 'nowhere'", "nowhere.py into the workspace")),
        ("name: mine:nett", ("model.name: module mine has no function 'nett'", "mine:net?")),
        ("weights: missing.safetensors", ("model.weights: ", "missing.safetensors does not exist")),
        ("name: cnn\n  weights: a/b.safetensors", ("model.weights: ", "b.safetensors does not exist")),
        ("weights: mine.safetensors", ("model.weights: ", "mine.safetensors cannot be read")),
        ("weights: mine.pth", ("model.weights: ", "mine.pth is not a .safetensors file")),
        ("name: cnn\n  weights: DEFAULT", ("model.weights: torchvision has no weights for cnn",)),
        ("name: resnet50\n  weights: IMAGENET1K_V3", ("model.weights: resnet50 has no weights", "did you mean")),
        # Only the images tell which model or stem it will be.
        ("weights: DEFAULT", ("model.weights: torchvision has no weights for cnn",)),
        ("name: resnet18\n  weights: DEFAULT", ("model.weights: DEFAULT does not fit resnet18 with the small stem",)),
    ],
)
def test_a_model_or_weights_that_do_not_exist_leave_nothing_behind(
    tmp_path: Path, model: str, said: tuple[str, ...]
) -> None:
    photos(tmp_path / "photos", 3)
    (tmp_path / "mine.py").write_text("def net(num_classes, image_size):\n    raise AssertionError('not now')\n")
    (tmp_path / "mine.safetensors").write_bytes(b"no weights")
    (tmp_path / "mine.pth").write_bytes(b"no weights")
    (tmp_path / "settings.yaml").write_text(f"model:\n  {model}\n")
    before = sorted(tmp_path.iterdir())
    refused = run(tmp_path, "init", "photos", "--classes", "cat,dog", "--config", "settings.yaml")
    assert refused.code == 3
    assert [text for text in said if text not in refused.err] == []
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "__pycache__"] == before


@pytest.mark.parametrize(
    "model",
    [
        "name: mobilenet_v3_small\n  weights: DEFAULT",
        "name: resnet18\n  stem: large\n  weights: IMAGENET1K_V1",
        "weights: there.safetensors",
        "name: waiting:net",
    ],
)
def test_models_and_weights_that_exist_are_taken(tmp_path: Path, model: str) -> None:
    photos(tmp_path / "photos", 3)
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "there.safetensors")  # whether it fits, `train` says
    (tmp_path / "waiting.py").write_text("def net(num_classes, image_size):\n    raise AssertionError('not now')\n")
    (tmp_path / "dalcli.yaml").write_text(f"model:\n  {model}\n")
    ok(tmp_path, "init", "photos", "--classes", "cat,dog")
    assert (tmp_path / "dalcli.yaml").read_text() == f"model:\n  {model}\n"


def test_models_that_are_known_without_asking_exist() -> None:
    from dalcli.models import zoo
    from dalcli.workspace.model_choice import SURELY_THERE

    assert SURELY_THERE - {"auto"} <= zoo.OWN.keys()


def test_the_same_again_changes_nothing(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 12)
    first = ok(tmp_path, "init", "photos", "--classes", "cat,dog")
    before = dump(tmp_path)
    again = ok(tmp_path, "init", "photos", "--classes", "cat,dog")
    assert again.out == first.out
    assert "already a workspace" in again.err
    assert dump(tmp_path) == before


def test_again_with_more_images_adds_them(tmp_path: Path) -> None:
    make(tmp_path, 3)
    image(tmp_path / "photos" / "new.png", 50)
    assert "1 new sample registered" in ok(tmp_path, "init", "photos").err
    assert len(ask(tmp_path, "SELECT * FROM sample")) == 4


def test_again_with_fewer_classes_says_that_none_went(tmp_path: Path) -> None:
    make(tmp_path)
    ok(tmp_path, "init", "photos", "--classes", "cat,dog")
    with session(tmp_path) as opened, opened.database.write() as connection:
        classes.append(connection, ["bird"])
    assert "its 3 classes stay what they are" in ok(tmp_path, "init", "photos", "--classes", "cat,dog").err
    assert "classes stay" not in ok(tmp_path, "init", "photos", "--classes", "cat,dog,bird").err


def test_again_with_other_classes_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    refused = run(tmp_path, "init", "photos", "--classes", "cat,bird")
    assert refused.code == 3
    assert "--classes cat,bird contradicts the workspace's cat,dog" in refused.err


def test_classes_come_from_a_file_the_configuration_folders_or_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes("\ufeffcät\r\ndog\r\n\r\n".encode())
    (tmp_path / "a").mkdir()
    assert ok(tmp_path / "a", "init", "--classes", "../names.txt", "--json").json["classes"] == ["cät", "dog"]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "dalcli.yaml").write_text("classes: [x, y]\n")
    assert ok(tmp_path / "b", "init", "--json").json["classes"] == ["x", "y"]
    image(tmp_path / "c" / "photos" / "dog" / "1.png", 1)
    image(tmp_path / "c" / "photos" / "cat" / "2.png", 2)
    made = ok(tmp_path / "c", "init", "photos", "--labels-from-folders", "--json")
    assert made.json["classes"] == ["cat", "dog"]
    assert ask(tmp_path / "c", "SELECT f.path, c.name FROM vote v JOIN file f USING (sample)"
               " JOIN class c ON c.position = v.class ORDER BY 1") == [
        ("photos/cat/2.png", "cat"),
        ("photos/dog/1.png", "dog"),
    ]  # fmt: skip
    photos(tmp_path / "d", 3)
    (tmp_path / "d" / "list.csv").write_text("path,label\n0.png,yes\n1.png,no\n2.png,\n")
    made = ok(tmp_path / "d", "init", "list.csv", "--json")
    assert made.json["classes"] == ["no", "yes"]
    assert ask(tmp_path / "d", "SELECT file, line FROM vote ORDER BY line") == [("list.csv", 2), ("list.csv", 3)]


@pytest.mark.parametrize(
    ("classes", "reason"), [("cat", "at least two"), ("cat,,dog", "empty"), ("cat,dog,cat", "listed twice")]
)
def test_bad_class_lists_are_usage_errors(tmp_path: Path, classes: str, reason: str) -> None:
    refused = run(tmp_path, "init", "--classes", classes)
    assert refused.code == 2
    assert reason in refused.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("missing",), "missing: no such file or folder"),
        (("photo",), "did you mean 'photos'?"),
        (("empty",), "empty: no images found"),
        (("list.csv",), "2 bad rows"),
        (("photos", "--config", "bad.yaml"), "bad.yaml: 2 problems"),
        (("photos", "--config", "none.yaml"), "no such configuration file"),
        (("photos", "--test", "list2.csv"), "unknown classes"),
    ],
)
def test_bad_input_leaves_nothing_behind(tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    photos(tmp_path / "photos", 3)
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.csv").write_text("path\nphotos/0.png\nphotos/9.png\n\nphotos/8.png\n")
    (tmp_path / "list2.csv").write_text("path,label\nphotos/0.png,catt\n")
    (tmp_path / "bad.yaml").write_text("sed: 1\nquery:\n  strategi: margin\n")
    before = sorted(tmp_path.iterdir())
    refused = run(tmp_path, "init", *arguments, "--classes", "cat,dog")
    assert refused.code == 3
    assert reason in refused.err
    assert sorted(tmp_path.iterdir()) == before


def test_every_bad_row_and_key_is_named_with_its_line(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    (tmp_path / "list.csv").write_text("path,split\nphotos/0.png,trian\nphotos/9.png,test\n")
    refused = run(tmp_path, "init", "list.csv", "--classes", "cat,dog")
    assert [line.split(":")[0] for line in problems(refused)] == ["line 2", "line 3"]
    assert "did you mean 'train'" in refused.err
    (tmp_path / "bad.yaml").write_text("sed: 1\nquery:\n  strategi: margin\n  gamma: -1\n")
    refused = run(tmp_path, "init", "photos", "--classes", "cat,dog", "--config", "bad.yaml")
    assert problems(refused) == [
        "line 1: sed: unknown key: did you mean 'seed'?",
        "line 3: query.strategi: unknown key: did you mean 'strategy'?",
        "line 4: query.gamma: should be greater than or equal to 0, got -1",
    ]


def test_contradicting_labels_of_one_image_refuse_everything(tmp_path: Path) -> None:
    image(tmp_path / "photos" / "cat" / "1.png", 1)
    image(tmp_path / "photos" / "dog" / "1.png", 1)
    refused = run(tmp_path, "init", "photos", "--labels-from-folders")
    assert refused.code == 3
    assert problems(refused) == ["photos/dog/1.png: 'dog', but the same image is 'cat' in photos/cat/1.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_test_set_turns_the_reserve_off(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 40)
    image(tmp_path / "test" / "cat" / "1.png", 1000)
    image(tmp_path / "test" / "dog" / "2.png", 1001)
    made = ok(tmp_path, "init", "photos", "--test", "test", "--classes", "cat,dog", "--json")
    assert made.json["evaluation_reserve"] == 0
    assert made.json["states"]["training"]["unlabeled"] == 40
    assert made.json["states"]["evaluation"]["labeled"] == 2
    assert "reserve: 0 " in (tmp_path / "dalcli.yaml").read_text()
    assert ok(tmp_path, "init", "photos", "--test", "test", "--json").out == made.out


def test_the_reserve_follows_the_content_not_the_order(tmp_path: Path) -> None:
    one = make(tmp_path / "one", 30, reserve=0.3)
    two = make(tmp_path / "two", 3, reserve=0.3)
    photos(two / "photos", 27, first=3)
    ok(two, "pool", "add", "photos")
    served = "SELECT sample_id, purpose FROM sample ORDER BY 1"
    assert ask(one, served) == ask(two, served)
    assert {purpose for _, purpose in ask(one, served)} == {"training", "evaluation"}


def test_an_image_in_pool_and_test_set_serves_evaluation(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 5)
    image(tmp_path / "test" / "cat" / "copy.png", 3)
    image(tmp_path / "test" / "dog" / "own.png", 900)
    made = ok(tmp_path, "init", "photos", "--test", "test", "--classes", "cat,dog")
    assert "warning: 1 image is in the pool and in the test set: it serves evaluation only" in made.err
    assert ask(tmp_path, "SELECT count(*) FROM sample WHERE purpose = 'evaluation'") == [(2,)]


def test_a_test_list_of_images_that_are_in_the_pool_is_counted_too(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 5)
    (tmp_path / "test.csv").write_text("path,label\nphotos/1.png,cat\nphotos/3.png,dog\n")
    made = ok(tmp_path, "init", "photos", "--test", "test.csv", "--classes", "cat,dog")
    assert "warning: 2 images are in the pool and in the test set: they serve evaluation only" in made.err
    (tmp_path / "photos" / "1.png").touch()
    assert "test set" not in ok(tmp_path, "pool", "add", "photos").err


def test_an_existing_configuration_is_kept(tmp_path: Path) -> None:
    (tmp_path / "dalcli.yaml").write_text("# mine\nseed: 3\n")
    ok(tmp_path, "init", "--classes", "cat,dog")
    assert (tmp_path / "dalcli.yaml").read_text() == "# mine\nseed: 3\n"
    (tmp_path / "other.yaml").write_text("seed: 4\n")
    assert run(tmp_path, "init", "--config", "other.yaml").code == 3


def test_the_written_configuration_is_valid_and_says_what_was_chosen(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    ok(tmp_path, "init", "photos", "--classes", "cat,dog")
    assert "`init` chose cnn" in (tmp_path / "dalcli.yaml").read_text()
    ok(tmp_path, "status")


def test_a_folder_that_is_missing_is_bad_input(tmp_path: Path) -> None:
    assert run(tmp_path, "-C", "nowhere", "init", "--classes", "a,b").code == 3


def test_labels_are_known_again_after_they_were_corrected(tmp_path: Path) -> None:
    path = image(tmp_path / "photos" / "cat" / "1.png", 1)
    image(tmp_path / "photos" / "dog" / "2.png", 2)
    ok(tmp_path, "init", "photos", "--labels-from-folders")
    (tmp_path / "fix.csv").write_text(f"path,label\n{path},dog\n")
    ok(tmp_path, "ingest-labels", "fix.csv", "--on-conflict", "replace")
    before = dump(tmp_path)
    ok(tmp_path, "init", "photos", "--labels-from-folders")
    ok(tmp_path, "pool", "add", "photos", "--labels-from-folders")
    assert dump(tmp_path) == before


def _kill_while_registering(root: Path, *arguments: str, number: int = signal.SIGKILL) -> int:
    """Start ``init`` and send it a signal once it has committed the first images; returns its exit status."""
    process = start(root, "init", *arguments)
    database = root / ".dalcli.partial" / "state.db"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if database.is_file() and _committed(database):
            process.send_signal(number)
            break
        time.sleep(0.01)
    process.communicate(timeout=60)
    return process.returncode


def _committed(database: Path) -> bool:
    import sqlite3

    connection = sqlite3.connect(database)
    try:
        return bool(connection.execute("SELECT count(*) FROM sample").fetchone()[0])
    except sqlite3.Error:
        return False
    finally:
        connection.close()


@pytest.fixture
def many(tmp_path: Path) -> Path:
    photos(tmp_path / "photos", 3000)
    (tmp_path / "dalcli.yaml").write_text("evaluation:\n  reserve: 0.2\ndata:\n  workers: 1\n")
    return tmp_path


def test_a_killed_init_leaves_no_workspace_and_continues(many: Path) -> None:
    assert _kill_while_registering(many, "photos", "--classes", "cat,dog") == -signal.SIGKILL
    assert run(many, "status").code == 5
    before = {row[0] for row in ask_partial(many)}
    assert 0 < len(before) < 3000
    made = ok(many, "init", "photos", "--classes", "cat,dog", "--json")
    assert f"{3000 - len(before)} new samples" in made.err
    assert {row[0] for row in ask(many, "SELECT sample_id FROM sample")} == set(ids(many / "photos").values())
    assert not (many / ".dalcli.partial").exists()


def test_a_killed_init_asked_for_something_else_starts_over(many: Path) -> None:
    _kill_while_registering(many, "photos", "--classes", "cat,dog")
    photos(many / "few", 3)
    made = ok(many, "init", "few", "--classes", "cat,bird", "--json")
    assert made.json["classes"] == ["cat", "bird"]
    assert len(ask(many, "SELECT * FROM sample")) == 3


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_init_with_their_own_status(many: Path, number: int, status: int) -> None:
    assert _kill_while_registering(many, "photos", "--classes", "cat,dog", number=number) == status
    assert run(many, "status").code == 5
    made = ok(many, "init", "photos", "--classes", "cat,dog")
    assert "3000 new samples" not in made.err


def ask_partial(root: Path) -> list[tuple[object, ...]]:
    import sqlite3

    connection = sqlite3.connect(root / ".dalcli.partial" / "state.db")
    try:
        return list(connection.execute("SELECT sample_id FROM sample"))
    finally:
        connection.close()


def test_the_last_line_of_an_error_says_what_to_do(tmp_path: Path) -> None:
    refused = run(tmp_path, "init")
    assert refused.code == 2
    assert message(refused)[1] == "pass --classes cat,dog,other"

"""Downloads from a server on this machine that behaves well or badly."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dalcli.feedback import SilentFeedback, SilentTask
from dalcli.models import downloading
from dalcli.models.downloading import DownloadError, digits_in, fetch

CONTENT = bytes(range(256)) * 20_000
HASH = hashlib.sha256(CONTENT).hexdigest()
REMEDY = "Bring it by hand."


class Server(BaseHTTPRequestHandler):
    """/good, /short (breaks off), /cut (breaks off between chunks), /never (says nothing), /STATUS."""

    protocol_version = "HTTP/1.1"
    released = threading.Event()

    def do_GET(self) -> None:
        self.close_connection = True
        if self.path == "/never":
            self.released.wait(30)
        elif self.path[1:].isdigit():
            self.send_error(int(self.path[1:]))
        elif self.path == "/cut":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nhello\r\n")
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT if self.path == "/good" else CONTENT[:1000])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    Server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv(downloading.OFFLINE, raising=False)


class Counting(SilentFeedback):
    def __init__(self) -> None:
        self.said: list[tuple[str, int | None, str]] = []
        self.done = 0

    @contextmanager
    def task(self, label: str, total: int | None, unit: str = "images") -> Iterator[SilentTask]:
        self.said.append((label, total, unit))
        feedback = self

        class Task(SilentTask):
            def advance(self, amount: int = 1, info: str | None = None) -> None:
                feedback.done += amount

        yield Task()


def get(url: str, target: Path, sha256: str = HASH[:8]) -> None:
    fetch(url, target, REMEDY, SilentFeedback(), sha256)


def test_a_file_arrives_whole_and_progress_counts_it(site: str, tmp_path: Path) -> None:
    target, feedback = tmp_path / "new" / "folder" / "w.pth", Counting()
    fetch(f"{site}/good", target, REMEDY, feedback, HASH[:8])
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["w.pth"]
    assert feedback.said == [("download w.pth", 5, "MB")]
    assert feedback.done == 5
    assert downloading.matches(target, HASH[:8])
    assert not downloading.matches(target, "0" + HASH[:7])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("short", "ended after 1,000 of 5,120,000 bytes"),
        ("cut", "could not be downloaded from .*IncompleteRead"),
        ("404", "the server answered 404 Not Found"),
        ("503", "the server answered 503"),
        ("407", "the proxy wants a user and a password"),
        ("never", "no answer for 0 seconds"),
    ],
)
def test_what_goes_wrong_is_said_with_the_remedy_and_leaves_what_was_there(
    site: str, tmp_path: Path, path: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "TIMEOUT_SECONDS", 0.3)
    target = tmp_path / "w.pth"
    target.write_bytes(b"older")
    with pytest.raises(DownloadError, match=message) as caught:
        get(f"{site}/{path}", target)
    assert REMEDY in (caught.value.remedy or "")
    assert caught.value.missing == (path == "404")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("w.pth", b"older")]


def test_another_content_than_expected_is_refused(site: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=f"begins with {HASH[:8]}, not 00000000"):
        get(f"{site}/good", tmp_path / "w.pth", "00000000")
    assert list(tmp_path.iterdir()) == []


def test_without_a_server_or_a_name_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound, but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(DownloadError, match="refused"):
            get(f"http://127.0.0.1:{taken.getsockname()[1]}/good", tmp_path / "w.pth")

    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(DownloadError, match="name resolution"):
        get("http://nowhere.invalid/good", tmp_path / "w.pth")


def test_a_full_disk_is_no_trouble_with_the_network(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_via(path: Path, writer: object) -> None:
        writer(Path("/dev/full"))  # type: ignore[operator]

    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    monkeypatch.setattr(downloading, "write_via", write_via)
    with pytest.raises(OSError, match="No space left"):
        get(f"{site}/good", tmp_path / "w.pth")


@pytest.mark.parametrize(("value", "forbidden"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_offline_means_that_nothing_is_asked(
    site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, forbidden: bool
) -> None:
    monkeypatch.setenv("DALCLI_OFFLINE", value)
    if not forbidden:
        get(f"{site}/good", tmp_path / "w.pth")
        return
    monkeypatch.setattr(downloading, "urlopen", None)
    with pytest.raises(DownloadError, match="DALCLI_OFFLINE forbids") as caught:
        get(f"{site}/good", tmp_path / "w.pth")
    assert caught.value.remedy == REMEDY


def test_names_tell_the_hash_as_torch_writes_it() -> None:
    assert digits_in("resnet18-f37072fd.pth") == "f37072fd"
    assert digits_in("alexnet-owt-7be5be79.pth") == "7be5be79"
    assert digits_in("mnasnet1.0_top1_73.512-f206786ef8.pth") == "f206786ef8"
    assert digits_in("model.safetensors") == ""

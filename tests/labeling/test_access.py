"""Who gets in, and what they get: nothing without the token, from another site, by another name, beyond the batch."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from dalcli_runner import run
from hypothesis import given, settings
from hypothesis import strategies as st
from label_pages import Served, handed_out, serving
from workspaces import ask, make

from dalcli.errors import UsageError
from dalcli.labeling import guard as guard_module
from dalcli.labeling import server as server_module
from dalcli.labeling.guard import Guard, check
from dalcli.labeling.request import LabelRequest
from dalcli.labeling.site import MAX_BODY, assets

PAGE = "0" * 32


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:  # type: ignore[misc]
    root = handed_out(tmp_path_factory.mktemp("access") / "w", 3)
    with serving(root) as page:
        yield page


def test_the_token_is_random_and_long(tmp_path: Path) -> None:
    tokens = {Guard.of("127.0.0.1", None).token for _ in range(5)}
    assert len(tokens) == 5
    assert all(len(token) >= 43 for token in tokens)  # 256 bits


@pytest.mark.parametrize("path", ["/", "/label.js", "/wrong/", "/wrong/api/setup", "//", "/wrong/image/s-" + "0" * 32])
def test_without_the_token_there_is_nothing(served: Served, path: str) -> None:
    reply = served.ask("GET", path)
    assert (reply.status, reply.headers["content-type"]) == (404, "application/json")
    assert served.ask("POST", path, b"{}").status == 404


def test_a_token_that_is_almost_right_is_wrong(served: Served) -> None:
    token = served.root.strip("/")
    for other in (token[:-1], token + "A", token.swapcase(), token[:-1] + chr(ord(token[-1]) ^ 1)):
        assert served.ask("GET", f"/{other}/").status == 404
    assert served.ask("GET", f"/{token}/").status == 200


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(guard_module.hmac, "compare_digest", lambda a, b: bool(compared.append((a, b))))
    assert not Guard.of("127.0.0.1", "x" * 16).knows_token("x" * 16)
    assert compared == [(b"x" * 16, b"x" * 16)]


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost:1", True), ("127.0.0.1", True), ("127.0.0.1:8000", True), ("[::1]:8000", True), ("LOCALHOST", True),
        ("evil.example", False), ("evil.example:80", False), ("localhost.evil.example", False), ("", False),
        ("127.0.0.1.evil.example", False), ("192.168.1.7:80", False), ("a@localhost", False), ("[", False),
    ],
)  # fmt: skip
def test_a_name_that_is_not_ours_gets_nothing(served: Served, host: str, known: bool) -> None:
    reply = served.get("api/setup", Host=host)
    assert reply.status == (200 if known else 421)


def test_on_a_network_every_address_will_do_but_no_foreign_name() -> None:
    guard = Guard.of("0.0.0.0", "x" * 16)
    assert guard.knows_host("192.168.1.7:8000")
    assert guard.knows_host("[fe80::1]:8000")
    assert guard.knows_host(f"{socket.gethostname()}:8000")
    assert not guard.knows_host("evil.example:8000")
    assert not guard.knows_host(None)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Sec-Fetch-Site": "same-site"}, 403), ({"Origin": "http://["}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200), ({}, 200),
    ],
)  # fmt: skip
def test_requests_from_pages_of_other_sites_are_refused(served: Served, headers: dict[str, str], status: int) -> None:
    assert served.post("next", {"page": PAGE}, **headers).status == status
    assert served.get("api/setup", **headers).status == status


def test_a_form_of_another_site_could_not_even_be_sent(served: Served) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert served.post("next", {"page": PAGE}, **{"Content-Type": kind}).status == 415


def test_a_link_in_a_message_opens_the_page(served: Served) -> None:
    assert served.get("", **{"Sec-Fetch-Site": "cross-site"}).status == 200
    reply = served.ask("GET", served.root.rstrip("/"))
    assert (reply.status, reply.headers["location"]) == (301, served.root)


def test_every_answer_has_the_headers(served: Served) -> None:
    replies = [served.get(place) for place in ("", "label.js", "label.css", "api/setup", "nowhere", "icon.svg")]
    replies.append(served.ask("GET", "/wrong/"))
    replies.append(served.ask("PUT", served.root))
    for reply in replies:
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
        policy = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert "Python" not in reply.headers["server"]


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere() -> None:
    page = assets()[""].data.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", page)
    for place, response in assets().items():
        text = response.data.decode()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), place
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(", text), place


def test_only_images_of_the_batch_are_served(served: Served, tmp_path: Path) -> None:
    root = Path(served.page.clerk._path).parent.parent
    issued = ask(root, "SELECT s.sample_id FROM batch_row AS r JOIN sample AS s ON s.id = r.sample")
    others = ask(root, "SELECT sample_id FROM sample WHERE id NOT IN (SELECT sample FROM batch_row)")
    assert len(issued) == 3 and len(others) == 9
    assert {served.get(f"image/{sample}").status for (sample,) in issued} == {200}
    assert {served.get(f"image/{sample}").status for (sample,) in others} == {404}
    assert served.get(f"image/{issued[0][0]}").headers["content-security-policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize(
    "place",
    [
        "../state.db", "image/../../dalcli.yaml", "image/photos/0.png", "image/%2e%2e/dalcli.yaml", "image//etc/passwd",
        "label.html", "page/label.html", "image/S-" + "0" * 32, "image/s-" + "0" * 32 + "/..", "api", "api/", "..",
        "__init__.py", "image/s-" + "0" * 31, "..%2f..%2fdalcli.yaml", "\\..\\dalcli.yaml", "api/answer/", "image/",
    ],
)  # fmt: skip
def test_no_path_leads_anywhere(served: Served, place: str) -> None:
    assert served.get(place).status == 404


@settings(max_examples=60)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40))
def test_whatever_is_asked_for_is_answered_in_our_form(served: Served, place: str) -> None:
    reply = served.get(place)
    assert reply.status in {200, 404, 405}
    assert reply.status != 200 or place.split("?", maxsplit=1)[0] in {*assets(), "api/setup"}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"{", b"\xff\xfe", b'{"page": 1}', b'{"page": "x"}', b"[" * 16_000, b"1e999",
        json.dumps({"page": PAGE, "more": 1}).encode(), json.dumps({"page": PAGE, "annotator": "a\x00"}).encode(),
        json.dumps({"page": PAGE, "annotator": "x" * 101}).encode(),
        b'{"page": "' + b"0" * 32 + b'", "annotator": "\\ud800"}',
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(served: Served, body: bytes) -> None:
    for place in ("next", "answer", "undo", "leave"):
        reply = served.ask("POST", f"{served.root}api/{place}", body, {"Content-Type": "application/json"})
        assert reply.status == 400
        assert "not understood" in reply.json["error"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample": "photos/0.png"}, {"sample": "s-" + "0" * 32, "label": 1}, {"sample": "s-" + "0" * 32, "seconds": -1},
        {"sample": "s-" + "0" * 32, "seconds": float("nan")}, {"sample": "s-" + "0" * 32, "seconds": 1e9},
        {"sample": "s-" + "0" * 32, "label": "cat", "proposal": "fox"}, {}, {"sample": "s-" + "0" * 32, "proposal": ""},
    ],
)  # fmt: skip
def test_an_answer_is_one_answer_about_one_sample(served: Served, wrong: dict[str, object]) -> None:
    assert served.post("answer", {"page": PAGE, **wrong}).status == 400


def test_a_body_has_a_length_and_is_small(served: Served) -> None:
    kind = {"Content-Type": "application/json"}
    path = f"{served.root}api/next"
    assert served.ask("POST", path, b" " * (MAX_BODY + 1), kind).status == 413
    assert served.ask("POST", path, None, kind | {"Content-Length": "-1"}).status == 400
    assert served.ask("POST", path, None, kind | {"Content-Length": "9" * 40}).status == 413
    assert served.ask("POST", path, None, kind | {"Transfer-Encoding": "chunked"}).status == 411


def test_methods_are_what_they_are_for(served: Served) -> None:
    assert served.ask("POST", served.root, b"{}", {"Content-Type": "application/json"}).status == 405
    assert served.get("api/next").status == 405
    assert {served.ask(method, served.root).status for method in ("PUT", "DELETE", "OPTIONS", "TRACE", "PATCH")} == {
        405
    }


def raw(served: Served, data: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=10)
    connection.sendall(data)
    return connection


def test_what_is_not_http_is_answered_and_hung_up_on(served: Served) -> None:
    for data in (
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"A" * 70_000 + b"\r\n",
    ):
        with raw(served, data) as connection:
            found = b""
            try:
                while more := connection.recv(4096):
                    found += more
            except ConnectionResetError:
                pass  # it did not even read all of it
            assert b"Traceback" not in found
    assert served.get("api/setup").status == 200


def test_who_sends_too_slowly_is_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "READ_SECONDS", 0.3)
    before = time.monotonic()
    with raw(served, b"POST /") as connection:
        try:
            while time.monotonic() - before < 8:  # a byte now and then: no single wait is long
                time.sleep(0.1)
                connection.sendall(b"x")
        except OSError:
            pass
    assert time.monotonic() - before < 3


def test_too_many_at_once_are_turned_away_and_the_others_served(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 3)
    waiting = [raw(served, b"GET") for _ in range(3)]
    time.sleep(0.2)
    with raw(served, b"GET / HTTP/1.1\r\n\r\n") as fourth, suppress(ConnectionResetError):
        assert fourth.recv(10) == b""
    for connection in waiting:
        connection.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            assert served.get("api/setup").status == 200
            break
        except OSError:
            time.sleep(0.05)
    else:
        pytest.fail("nobody is served any more")


def test_the_end_waits_for_nobody_who_says_nothing(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 2)
    before = time.monotonic()
    with serving(root) as served:
        silent = raw(served, b"")  # as browsers do, ahead of time
        time.sleep(0.1)
    assert time.monotonic() - before < 5
    silent.close()


def test_an_answer_that_has_arrived_is_recorded_although_the_server_ends(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 2)
    statuses = []
    with serving(root) as served:
        ann = served.person()
        item = ann.looking_at()
        hold = threading.Event()
        busy = threading.Thread(target=lambda: served.page.clerk.ask(lambda desk, connection: hold.wait(5)))
        busy.start()
        asking = threading.Thread(target=lambda: statuses.append(ann.say("answer", sample=item, label="cat").status))
        asking.start()
        time.sleep(0.3)
        threading.Timer(0.3, hold.set).start()
    asking.join()
    busy.join()
    assert statuses == [200]
    assert len(ask(root, "SELECT * FROM vote")) == 1


@pytest.mark.parametrize(
    ("host", "token", "fine"),
    [
        ("127.0.0.1", None, True), ("localhost", None, True), ("::1", None, True), ("127.0.0.53", None, True),
        ("0.0.0.0", None, False), ("::", None, False), ("192.168.0.5", None, False), ("example.org", None, False),
        ("0.0.0.0", "x" * 16, True), ("0.0.0.0", "x" * 15, False), ("127.0.0.1", "short", False),
        ("0.0.0.0", "x" * 15 + "/", False), ("0.0.0.0", "x" * 15 + "é", False), ("0.0.0.0", "", False),
    ],
)  # fmt: skip
def test_other_machines_get_in_with_a_token_alone(host: str, token: str | None, fine: bool) -> None:
    if fine:
        check(host, token)
    else:
        with pytest.raises(UsageError):
            check(host, token)


def test_the_command_refuses_an_open_door(tmp_path: Path) -> None:
    root = make(tmp_path / "w")
    refused = run(root, "label", "--host", "0.0.0.0")
    assert refused.code == 2
    assert "--token" in refused.err


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "0.0.0.0"])
def test_the_address_that_is_told_leads_to_the_page(tmp_path: Path, host: str) -> None:
    if host == "::1" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with serving(handed_out(tmp_path / "w", 1), LabelRequest(host=host, token="x" * 20)) as served:
        assert "0.0.0.0" not in served.page.address
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(served.page.address, timeout=10) as page:
            assert b"dalcli label" in page.read()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True

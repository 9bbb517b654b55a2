"""Requests to the server, which may restart in the middle: time-outs, patience, and never a token in a message.

What only asks is repeated until the server answers or patience runs out. What changes something is sent once; if its
fate is unknown, :class:`UnsureError` says so, and whoever sent it looks first.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from dalcli.errors import BadInputError, DalcliError
from dalcli.feedback import Feedback
from dalcli.label_studio.access import TOKEN, URL, Access

Json = dict[str, object]
TIMEOUT, LONG_TIMEOUT = 30.0, 300.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
MOST_BYTES = 1 << 29
MOST_ATTEMPTS = 8
_AWAY = frozenset({408, 425, 429, 500, 502, 503, 504})
_DROPPED = (OSError, http.client.HTTPException)  # URLError and time-outs are OSErrors
_SHOWN = 300


class AwayError(DalcliError):
    """The server did not answer in time, or not as a working server does."""


class UnsureError(Exception):
    """A change was sent, and nothing says whether it was made."""


class RefusedError(DalcliError):
    """The server understood and said no; ``status`` is HTTP's, ``said`` what it said."""

    def __init__(self, message: str, status: int, said: str) -> None:
        super().__init__(message)
        self.status, self.said = status, said


class _NoRedirects(HTTPRedirectHandler):
    """A redirect would carry the token to wherever it points."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> Request | None:
        return None


@dataclass
class Client:
    """One command's talk with one server. ``patience``: for how many seconds a silent server is asked again."""

    access: Access
    feedback: Feedback
    patience: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _bearer: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._opener = build_opener(_NoRedirects)
        self._personal = _is_personal(self.access.token)
        if self.access.in_the_open:
            self.feedback.warn(f"{self.access.server} is not https: the token can be read on the way")

    def get(self, path: str, **parameters: object) -> object:
        """What the server has at ``path``.

        Raises:
            AwayError: it did not answer for ``patience`` seconds.
            BadInputError: the token does not open it.
            RefusedError: it said no.
        """
        return _parsed(self.fetch(path, **parameters), self.access.server)

    def fetch(self, path: str, **parameters: object) -> bytes:
        """The bytes of it; raises what :meth:`get` does."""
        return self._patiently(lambda: self._send("GET", _with(path, parameters), None, TIMEOUT))

    def change(self, method: str, path: str, document: object, **parameters: object) -> object:
        """Send a change, once.

        Raises:
            UnsureError: it may have been made, or not.
            AwayError, BadInputError, RefusedError: as :meth:`get`; it was not made.
        """
        body = json.dumps(document).encode()
        place = _with(path, parameters)
        if self._personal and self._bearer is None:  # so that only the change itself can end in doubt
            self._patiently(self._refresh)
        try:
            answer = self._send(method, place, body, LONG_TIMEOUT)
        except _Silence as silence:
            if silence.unheard:
                answer = self._patiently(lambda: self._send(method, place, body, LONG_TIMEOUT), doubt=True)
            else:
                raise UnsureError(silence.why) from None
        return _parsed(answer, self.access.server)

    def wait(self, attempt: int) -> None:
        """The pause before a change is tried for the time ``attempt`` (from 1) again; AwayError if too often."""
        if attempt > MOST_ATTEMPTS:
            raise AwayError(
                f"{self.access.server} does not say what becomes of changes",
                "look into its log. What was done is kept: run the same command again",
            )
        self.sleep(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1)))

    def _patiently(self, send: Callable[[], bytes], doubt: bool = False) -> bytes:
        deadline = self.clock() + self.patience
        attempt, told = 0, False
        while True:
            try:
                return send()
            except _Silence as silence:
                if doubt and not silence.unheard:
                    raise UnsureError(silence.why) from None
                if self.clock() >= deadline:
                    raise AwayError(
                        f"{self.access.server} does not answer: {silence.why}",
                        f"is it running, and is {URL} right? What was done is kept: run the same command again",
                    ) from None
                if not told:
                    self.feedback.note(f"{self.access.server} does not answer ({silence.why}): trying again")
                    told = True
                attempt += 1
                self.wait(attempt)

    def _refresh(self) -> bytes:
        """A personal access token opens nothing itself: it is exchanged for one that lasts some minutes."""
        body = json.dumps({"refresh": self.access.token}).encode()
        answer = self._once("POST", "/api/token/refresh", body, TIMEOUT, {})
        found = _parsed(answer, self.access.server)
        if not isinstance(found, dict) or not isinstance(found.get("access"), str):
            raise AwayError(f"{self.access.server} gave no access for the token", f"is {URL} a Label Studio?")
        self._bearer = str(found["access"])
        return answer

    def _send(self, method: str, place: str, body: bytes | None, timeout: float) -> bytes:
        if not self._personal:
            return self._once(method, place, body, timeout, {"Authorization": f"Token {self.access.token}"})
        fresh = self._bearer is None
        if fresh:
            self._refresh()
        try:
            return self._once(method, place, body, timeout, {"Authorization": f"Bearer {self._bearer}"})
        except BadInputError:
            if fresh:
                raise
            self._refresh()  # it has run out; a request that was not let in changed nothing
            return self._once(method, place, body, timeout, {"Authorization": f"Bearer {self._bearer}"})

    def _once(self, method: str, place: str, body: bytes | None, timeout: float, headers: Mapping[str, str]) -> bytes:
        request = Request(self.access.server + place, body, dict(headers), method=method)
        request.add_header("Accept", "*/*")
        if body is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with self._opener.open(request, timeout=timeout) as response:
                return _whole(response)
        except HTTPError as error:
            with error:
                raise self._failure(error, place) from None
        except URLError as error:
            # Refused by the machine itself: nothing of the request was sent.
            raise _Silence(_words(error.reason), isinstance(error.reason, ConnectionRefusedError)) from None
        except _DROPPED as error:
            raise _Silence(_words(error), False) from None

    def _failure(self, error: HTTPError, place: str) -> Exception:
        server, where = self.access.server, urlsplit(place).path
        if error.code in _AWAY:
            return _Silence(f"HTTP status {error.code}", error.code in {429, 503})
        if error.code in {401, 403}:
            return BadInputError(
                f"{server} refuses the token in {TOKEN} (HTTP status {error.code} for {where})",
                "copy it again from its Account & Settings; legacy tokens must be allowed in the organization",
            )
        if 300 <= error.code < 400:
            target = urlsplit(error.headers.get("Location", ""))
            elsewhere = f"{target.scheme}://{target.hostname}" if target.hostname else "another page"
            return BadInputError(
                f"{server} sends on to {elsewhere}: not followed, so that the token goes nowhere else",
                f"set {URL} to the address that it is really at",
            )
        said = self._said(error)
        return RefusedError(f"{server} refused {where} (HTTP status {error.code}): {said}", error.code, said)

    def _said(self, error: HTTPError) -> str:
        """What the server says in its answer: one line, not long, without the token should it repeat it."""
        try:
            text = error.read(1 << 16).decode("utf-8", "replace")
        except _DROPPED:
            return "no reason given"
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            text = str(document.get("validation_errors") or document.get("detail") or document)
        for secret in filter(None, (self.access.token, self._bearer)):
            text = text.replace(secret, "***")
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return "a page of HTML" if "<html" in line.lower() else line[:_SHOWN] or "no reason given"


class _Silence(Exception):
    """No usable answer; ``unheard``: the request did not arrive, or was not worked on."""

    def __init__(self, why: str, unheard: bool) -> None:
        super().__init__(why)
        self.why, self.unheard = why, unheard


def _with(path: str, parameters: Mapping[str, object]) -> str:
    return f"{path}?{urlencode(parameters)}" if parameters else path


def _whole(response: http.client.HTTPResponse) -> bytes:
    data = response.read(MOST_BYTES + 1)
    if response.length:  # read(n) says nothing of an answer that was cut off
        raise http.client.IncompleteRead(data, response.length)
    if len(data) > MOST_BYTES:
        raise AwayError(f"the server's answer is larger than {MOST_BYTES:,} bytes", "is it a Label Studio?")
    return data


def _parsed(data: bytes, server: str) -> object:
    if not data:
        return None
    try:
        found: object = json.loads(data)
    except (ValueError, RecursionError):
        raise AwayError(f"{server} does not answer in JSON", f"is {URL} the address of a Label Studio?") from None
    return found


def _words(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror.lower()
    return f"{type(reason).__name__}" if isinstance(reason, Exception) else "no connection"


def _is_personal(token: str) -> bool:
    """Whether a token is a personal access token (a JWT to be exchanged), not a legacy one (40 hex digits)."""
    parts = token.split(".")
    if len(parts) != 3:
        return False
    try:
        head = json.loads(base64.urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return False
    return isinstance(head, dict) and "alg" in head


def objects(value: object) -> Sequence[Json]:
    """The objects of a list that the server sent; AwayError if it is none."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise AwayError("the server's answer is not what Label Studio says", f"is {URL} the address of a Label Studio?")
    return value


def an_object(value: object) -> Json:
    """An object that the server sent; AwayError if it is none."""
    return objects([value])[0]


def a_number(value: object) -> int:
    """A number that the server sent; AwayError if it is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise AwayError("the server's answer lacks a number", f"is {URL} the address of a Label Studio?")
    return value

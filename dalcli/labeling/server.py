"""The HTTP server: a request a connection, each in a thread of a pool, within limits on number, size and time.

Python's own server does it: the page is for a handful of people, every answer waits for the disk anyway, and there is
nothing to install or keep up with (measured with 50 clients in ``benchmarks/label_page.py``).
"""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from dalcli.errors import DalcliError, UsageError
from dalcli.labeling.site import Site

MAX_CONNECTIONS = 256
READ_SECONDS = 10.0
"""For a whole request to arrive."""
TOTAL_SECONDS = 120.0
"""For a whole answer to be taken."""


class LabelServer(HTTPServer):
    """Listens at ``host``; stopping it lets what has arrived be answered first."""

    request_queue_size = 256

    def __init__(
        self, host: str, port: int, handler: type[BaseHTTPRequestHandler], site: Site, failed: Callable[[str], None]
    ) -> None:
        self.host = host
        self.site = site
        self._failed = failed
        self._open: dict[Any, float] = {}
        self._reading: set[Any] = set()
        self._gate = threading.Lock()
        self._threads = ThreadPoolExecutor(MAX_CONNECTIONS, "page")
        try:
            self.address_family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        except (OSError, UnicodeError) as error:
            raise UsageError(f"--host {host}: {error}", "name an address of this machine, e.g. 0.0.0.0") from None
        try:
            super().__init__(address[:2], handler)  # type: ignore[arg-type]  # of (host, port) in both families
        except OSError as error:
            raise DalcliError(
                f"cannot listen at {host}, port {port}: {error.strerror or error}",
                "choose another --port (0: any that is free), or another --host",
            ) from None

    def server_bind(self) -> None:
        """Without asking a name server who we are, as the base class would."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    @property
    def address(self) -> str:
        """``host:port`` as somebody would write it who wants to come here."""
        host = _own_address(self.address_family) if self.host in {"0.0.0.0", "::"} else self.host
        return f"[{host}]:{self.server_port}" if ":" in host else f"{host}:{self.server_port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._gate:
            full = len(self._open) >= MAX_CONNECTIONS
            if not full:
                self._open[request] = time.monotonic()
                self._reading.add(request)
        if full:
            self.shutdown_request(request)
            return
        self._threads.submit(self._answer, request, client_address)

    def _answer(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
        finally:
            self.shutdown_request(request)

    def has_arrived(self, request: Any) -> None:
        """The whole request is here; what remains is to answer it."""
        with self._gate:
            self._reading.discard(request)

    def shutdown_request(self, request: Any) -> None:
        with self._gate:
            self._open.pop(request, None)
            self._reading.discard(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Twice a second: whoever sends or takes too slowly is cut off."""
        now = time.monotonic()
        with self._gate:
            late = [
                request
                for request, since in self._open.items()
                if now - since > (READ_SECONDS if request in self._reading else TOTAL_SECONDS)
            ]
            for request in late:
                _cut(request, socket.SHUT_RDWR)

    def stop(self) -> None:
        """Take no more requests, finish those that have arrived."""
        self.socket.close()
        with self._gate:
            for request in self._reading:
                _cut(request, socket.SHUT_RD)
        self._threads.shutdown()

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):  # of those who went away there is nothing to tell
            self._failed(f"a request to the page failed: {type(error).__name__}: {error}")


def _own_address(family: int) -> str:
    """The address that others on the network know this machine by, as far as it can tell without asking."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing: it only chooses a way to an address that documentation is written with (RFC 5737, 3849).
            probe.connect(("192.0.2.1" if family == socket.AF_INET else "2001:db8::1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


def _cut(request: Any, how: int) -> None:
    with suppress(OSError):
        request.shutdown(how)

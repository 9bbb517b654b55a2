"""One connection: read a request within its limits, answer it, hang up."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler

from dalcli.errors import DalcliError
from dalcli.labeling.desk import RefusedError
from dalcli.labeling.server import READ_SECONDS, LabelServer
from dalcli.labeling.site import MAX_BODY, Response


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP for :class:`~dalcli.labeling.site.Site`; logs nothing: addresses hold the token."""

    server: LabelServer
    protocol_version = "HTTP/1.1"
    timeout = READ_SECONDS
    wbufsize = 65_536  # head and body in one packet

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def _respond(self) -> None:
        self.close_connection = True  # a request a connection: no thread waits for somebody who only might go on
        try:
            body = self._body()
            self.server.has_arrived(self.connection)
            response = self.server.site.respond(self.command, self.path, self.headers, body)
        except RefusedError as refusal:
            response = Response.of(refusal.status, {"error": refusal.reason})
        except DalcliError as error:
            response = Response.of(503, {"error": f"not recorded: {error.message}"})
        except OSError:
            raise  # the one who asked has gone, or took too long
        except Exception:
            self._send(Response.of(500, {"error": "not recorded: the server failed; its terminal says how"}))
            raise
        self._send(response)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") is not None:
            raise RefusedError(411, "say how long it is")
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            raise RefusedError(400, "Content-Length is no number")
        if len(length) > 9 or int(length) > MAX_BODY:
            raise RefusedError(413, f"at most {MAX_BODY} bytes")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionResetError("the request broke off")
        return body

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", response.kind)
        self.send_header("Content-Length", str(len(response.data)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(response.data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What is not HTTP, or a method that nobody offers, in our form instead of the base class's page."""
        self.close_connection = True
        self.request_version = getattr(self, "request_version", "") or "HTTP/1.0"
        document = Response.of(code, {"error": "not understood"})
        self._send(document if code != 501 else Response.of(405, {"error": "GET or POST"}))

    def version_string(self) -> str:
        return "dalcli"

    def log_message(self, *args: object) -> None:
        pass

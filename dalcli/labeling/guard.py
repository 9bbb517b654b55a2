"""Who may ask: whoever has the token, from a page of ours, under a name that this server goes by.

The token stands in the address, so nothing is remembered by the browser that another site could make use of. A page
elsewhere that has its own name point here (DNS rebinding) is found out by the Host header, one that sends requests
across by Origin and Sec-Fetch-Site.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from dalcli.errors import UsageError

LEAST_TOKEN = 16
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
IMAGE_HEADERS = HEADERS | {"Content-Security-Policy": "default-src 'none'; sandbox"}
"""Of a user's image, opened by itself: whatever is in it, nothing runs."""


def check(host: str, token: str | None) -> None:
    """Refuse an address or a token that would let in more people than was meant.

    Raises:
        UsageError: ``host`` is not this machine alone and there is no token, or the token can be guessed.
    """
    if token is None and not is_loopback(host):
        raise UsageError(
            f"--host {host} lets other machines in",
            "add --token TEXT (16 or more letters and digits), or set DALCLI_LABEL_TOKEN",
        )
    if token is not None and (len(token) < LEAST_TOKEN or not _TOKEN.fullmatch(token)):
        raise UsageError(
            f"the token has to be {LEAST_TOKEN} or more letters, digits, - and _",
            "make one: python -c 'import secrets; print(secrets.token_urlsafe())'",
        )


def is_loopback(host: str) -> bool:
    """Whether nobody on another machine can reach ``host``."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


@dataclass(frozen=True)
class Guard:
    """The checks of one run."""

    token: str
    names: frozenset[str]
    any_address: bool

    @classmethod
    def of(cls, host: str, token: str | None) -> Guard:
        """A guard for a server at ``host``; without a token, with a random one of 256 bits."""
        loopback = is_loopback(host)
        own = set() if loopback else {socket.gethostname(), socket.getfqdn()}
        names = frozenset(name.lower() for name in {"localhost", host, *own})
        return cls(token or secrets.token_urlsafe(32), names, not loopback)

    def knows_token(self, text: str) -> bool:
        """In the same time whatever ``text`` is."""
        return hmac.compare_digest(text.encode(errors="replace"), self.token.encode())

    def knows_host(self, header: str | None) -> bool:
        """Whether a Host header names this server; the port may be another one, of a tunnel.

        A name that somebody else owns may point here (DNS rebinding); an address cannot.
        """
        name = _host_name(header)
        if name is None:
            return False
        address = _address(name)
        if address is None:
            return name in self.names
        return self.any_address or address.is_loopback

    def same_origin(self, origin: str | None, site: str | None, host: str | None) -> bool:
        """Whether a request comes from a page that this server sent, as far as the browser says."""
        if site is not None and site not in {"same-origin", "none"}:
            return False
        if origin is None:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in {"http", "https"} and parts.netloc.lower() == (host or "").lower()


def _host_name(header: str | None) -> str | None:
    try:
        parts = urlsplit(f"//{header}")
        return None if not header or parts.netloc != header or "@" in header else (parts.hostname or "").rstrip(".")
    except ValueError:
        return None


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None

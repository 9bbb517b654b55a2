"""A report as a message for ``sendmail -t``: the Markdown as its text, the page attached.

The page is attached, not shown in the mail: mail programs take away style sheets, pictures in data addresses and SVG.
The same report gives the same bytes; ``Date`` and ``Message-ID`` are for the one who sends it to add.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from email.message import EmailMessage

from dalcli.errors import UsageError
from dalcli.report.blocks import Page
from dalcli.report.text import one_line

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_LONGEST_SUBJECT = 150


def check_address(address: str, option: str) -> None:
    """Refuse what is no plain address.

    Raises:
        UsageError: naming ``option``.
    """
    if not _ADDRESS.fullmatch(address):
        raise UsageError(
            f"{option} {address!r}: not an address", "write it as name@example.com, without a display name"
        )


def message(page: Page, text: str, html: bytes, to: Sequence[str], sender: str | None) -> bytes:
    """The message, with the line ends that ``sendmail`` wants on its input."""
    mail = EmailMessage()
    mail["To"] = ", ".join(to)
    if sender is not None:
        mail["From"] = sender
    mail["Subject"] = _shortened(one_line(f"{page.workspace}: {page.verdict}. {page.reason}"))
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text, cte="quoted-printable")
    mail.add_attachment(html, maintype="text", subtype="html", filename="report.html", cte="base64")
    attached = list(mail.iter_attachments())[0]  # noqa: RUF015
    attached.set_param("charset", "utf-8")
    mail.set_boundary("=_" + hashlib.sha256(text.encode() + html).hexdigest()[:32])
    return mail.as_bytes()


def _shortened(subject: str) -> str:
    """Whole words, as many as a mail program shows."""
    if len(subject) <= _LONGEST_SUBJECT:
        return subject
    return subject[: _LONGEST_SUBJECT - 1].rpartition(" ")[0].rstrip(" :;,") + "…"

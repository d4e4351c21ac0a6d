"""Mail: handed to a server of the operator's, in the background, so that nobody waits for it."""

from __future__ import annotations

import logging
import queue
import smtplib
import ssl
import threading
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Final
from urllib.parse import unquote, urlsplit

log = logging.getLogger(__name__)

_TIMEOUT: Final = 15.0  # seconds, for each step of a conversation
_WAITS: Final = (5.0, 60.0)  # seconds before the second and the third try
_MOST_WAITING: Final = 200
_PORTS: Final = {"smtp": 587, "smtps": 465}


class Mailer:
    """Sends texts one after the other in a thread of its own; without an address, nothing.

    A conversation is encrypted wherever the server offers it, and a password is sent in no other.
    """

    def __init__(self, url: str, sender: str) -> None:
        self.available = bool(url)
        self._parts = urlsplit(url)
        self._sender = sender
        self._waiting: queue.Queue[EmailMessage | None] = queue.Queue(_MOST_WAITING)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def post(self, recipient: str, subject: str, text: str) -> None:
        """Send a mail soon; what cannot be sent after some tries is logged, and lost."""
        if not self.available:
            return
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._sender, recipient, subject
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=self._domain)
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        try:
            self._waiting.put_nowait(message)
        except queue.Full:
            log.error("a mail is given up: too many wait for the mail server")
        with self._starting:
            if self._thread is None and not self._stopping.is_set():
                self._thread = threading.Thread(target=self._live, name="mailer", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Send what waits, once, and return."""
        self._stopping.set()
        with self._starting:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            thread.join()

    @property
    def _domain(self) -> str:
        return self._sender.rpartition("@")[2].rstrip(">") or "localhost"

    def _live(self) -> None:
        while (message := self._waiting.get()) is not None:
            self._deliver(message)

    def _deliver(self, message: EmailMessage) -> None:
        for wait in (*_WAITS, None):
            try:
                self._send(message)
            except (OSError, smtplib.SMTPException) as error:
                # Not its text, which quotes addresses.
                log.warning("a mail could not be sent", extra={"reason": type(error).__name__})
                if isinstance(error, smtplib.SMTPRecipientsRefused) or wait is None:
                    return
                if self._stopping.is_set() or self._stopping.wait(wait):
                    return
            else:
                return

    def _send(self, message: EmailMessage) -> None:
        with self._connect() as server:
            if self._parts.username:
                server.login(unquote(self._parts.username), unquote(self._parts.password or ""))
            server.send_message(message)

    def _connect(self) -> smtplib.SMTP:
        host = self._parts.hostname or ""
        port = self._parts.port or _PORTS[self._parts.scheme]
        context = ssl.create_default_context()
        if self._parts.scheme == "smtps":
            return smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT, context=context)
        server = smtplib.SMTP(host, port, timeout=_TIMEOUT)
        server.ehlo()
        if server.has_extn("starttls"):
            server.starttls(context=context)
        elif self._parts.username:
            server.close()
            raise smtplib.SMTPNotSupportedError("no encryption for a password")
        return server

"""A real mail server that keeps what it is given."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.controller import Controller


@dataclass
class Mailbox:
    """What arrived: pairs of recipient and text; `refusals` is how often it refuses before."""

    mails: list[tuple[str, str]] = field(default_factory=list)
    refusals: int = 0
    port: int = 0
    arrived: threading.Condition = field(default_factory=threading.Condition)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - the name that aiosmtpd calls
        del server, session
        with self.arrived:
            if self.refusals:
                self.refusals -= 1
                return "451 not now"
            message = message_from_bytes(envelope.content, policy=default)
            body = message.get_body()
            assert body
            self.mails.append((envelope.rcpt_tos[0], body.get_content()))
            self.arrived.notify_all()
        return "250 kept"

    def wait(self, count: int = 1) -> list[tuple[str, str]]:
        """Return the mails once there are so many."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.mails) >= count, 20), self.mails
            return list(self.mails)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A server without encryption, on a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        box = Mailbox(port=free.getsockname()[1])
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    yield box
    controller.stop()

"""A first start that nobody is there to click through, as a real process."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

import tiny_models
from servers import SECONDS, running_server, tiny_settings

pytestmark = pytest.mark.e2e

KEY = "0f9d3a52-6c1b-4e7a-9d44-2b8e5f70c316"
PASSWORD = "correct horse battery"


def test_owner_and_keys_are_there_from_the_first_request_and_never_shown(tmp_path: Path) -> None:
    settings = {
        **tiny_settings(tmp_path),
        "KNOWNFACE_BOOTSTRAP_OWNER_EMAIL": "jane@example.org",
        "KNOWNFACE_BOOTSTRAP_OWNER_PASSWORD": PASSWORD,
        "KNOWNFACE_BOOTSTRAP_APPLICATION": "home",
        "KNOWNFACE_BOOTSTRAP_RECOGNITION_KEY": KEY,
        "KNOWNFACE_LOG_LEVEL": "debug",
    }
    credentials = {"email": "jane@example.org", "password": PASSWORD}
    for _ in range(2):
        with running_server(tmp_path, settings, fresh=True) as server:
            assert server.keys == {}, "no others are made"
            with server.client(KEY) as program:
                picture = {"file": tiny_models.portrait(1)}
                found = program.post("/api/v1/recognition/recognize", files=picture)
                assert found.status_code == 200, found.text
            with httpx.Client(base_url=server.address, timeout=SECONDS) as person:
                entered = person.post("/admin/api/session", json=credentials)
                assert entered.json()["user"]["role"] == "OWNER"
                csrf = {"X-CSRF-Token": entered.json()["csrf_token"]}
                link = person.post("/admin/api/invitations", json={}, headers=csrf).json()["link"]
                assert link.startswith(f"{server.address}/join/")
            shown = "".join(server.lines) + server.log.read_text()
            for secret in (KEY, PASSWORD, link.rpartition("/")[2], csrf["X-CSRF-Token"]):
                assert secret not in shown

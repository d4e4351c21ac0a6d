"""The documentation of the API: complete, true, and served from this server alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

SPECIFIED = {
    "POST /api/v1/recognition/subjects",
    "GET /api/v1/recognition/subjects",
    "PUT /api/v1/recognition/subjects/{subject}",
    "DELETE /api/v1/recognition/subjects/{subject}",
    "DELETE /api/v1/recognition/subjects",
    "POST /api/v1/recognition/faces",
    "GET /api/v1/recognition/faces",
    "DELETE /api/v1/recognition/faces",
    "POST /api/v1/recognition/faces/batch",
    "GET /api/v1/recognition/faces/batch",
    "DELETE /api/v1/recognition/faces/{image_id}",
    "POST /api/v1/recognition/faces/delete",
    "GET /api/v1/recognition/faces/{image_id}/img",
    "POST /api/v1/recognition/faces/{image_id}/verify",
    "GET /api/v1/static/{key}/images/{image_id}",
    "POST /api/v1/recognition/recognize",
    "POST /api/v1/recognition/embeddings/recognize",
    "POST /api/v1/recognition/embeddings/faces/{image_id}/verify",
    "POST /api/v1/detection/detect",
    "POST /api/v1/verification/verify",
    "POST /api/v1/verification/embeddings/verify",
    "GET /api/v1/config",
    "GET /api/v1/consistence/status",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
}


@pytest.fixture
def document(client: TestClient) -> Any:
    return client.get("/openapi.json").json()


def operations(document: Any) -> dict[str, Any]:
    """Return the calls of programs; those of people are held against their own table."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if not path.startswith("/admin")
    }


def test_every_call_is_described_and_no_other(document: Any) -> None:
    assert set(operations(document)) == SPECIFIED


def test_every_call_shows_an_answer_and_says_what_it_does(document: Any) -> None:
    for name, operation in operations(document).items():
        assert operation["summary"], name
        assert operation["description"], name
        good = next(v for k, v in operation["responses"].items() if k in {"200", "201"})
        kind, content = next(iter(good["content"].items()))
        assert (
            "example" in content
            or kind == "application/zip"
            or "/img" in name
            or "static" in name
            or "metrics" in name
        )


def test_status_codes_are_the_real_ones(document: Any) -> None:
    described = operations(document)
    created = {name for name, operation in described.items() if "201" in operation["responses"]}
    assert created == {"POST /api/v1/recognition/subjects", "POST /api/v1/recognition/faces"}
    assert not any("422" in operation["responses"] for operation in described.values())


def test_every_reference_leads_somewhere(document: Any, client: TestClient) -> None:
    schemas = document["components"]["schemas"]
    for name in re.findall(r"#/components/schemas/(\w+)", client.get("/openapi.json").text):
        assert name in schemas
    assert "HTTPValidationError" not in schemas


def test_pictures_can_be_sent_both_ways(document: Any) -> None:
    for name in ("POST /api/v1/recognition/recognize", "POST /api/v1/verification/verify"):
        content = operations(document)[name]["requestBody"]["content"]
        assert set(content) == {"multipart/form-data", "application/json"}


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
def test_the_page_loads_nothing_from_elsewhere(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "://" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert policy.count("sha256-") == 2
    assert "unsafe" not in policy


def test_a_handler_is_short_and_catches_nothing() -> None:
    folder = Path(__file__).parents[2] / "src/knownface/api"
    for name in (
        "recognition",
        "subjects",
        "faces",
        "batch",
        "detection",
        "verification",
        "health",
    ):
        text = (folder / f"{name}.py").read_text("utf-8")
        assert "try:" not in text
        for handler in re.findall(r"^async def .*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL):
            body = handler.rstrip().split("\n")
            assert len(body) <= 17, body[0]

"""`/docs`: the API's documentation as one page that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

router: Final = APIRouter()

_PAGE: Final = files("knownface.api").joinpath("docs.html").read_text("utf-8")


def _policy(page: str) -> str:
    """Return a policy that lets the page run its own script and style, and nothing else."""

    def sources(tag: str) -> str:
        inline = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()) for text in inline]
        return " ".join(f"'sha256-{digest.decode()}'" for digest in hashes)

    return (
        f"default-src 'none'; script-src {sources('script')}; style-src {sources('style')}; "
        "connect-src 'self'; img-src blob:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


_HEADERS: Final = {
    "content-security-policy": _policy(_PAGE),
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


@router.get("/docs", include_in_schema=False)
async def documentation() -> Response:
    """Show the documentation."""
    return Response(_PAGE, headers=_HEADERS, media_type="text/html; charset=utf-8")

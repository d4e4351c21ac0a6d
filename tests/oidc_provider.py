"""A small OpenID Connect provider: discovery, keys, and tokens that are signed for real."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey


@cache
def signing_key(name: str) -> RSAKey:
    """Return a key; to make one takes a while."""
    return RSAKey.generate_key(2048, {"kid": name})


@dataclass
class Provider:
    """Who signs in next is whom `claims` tell of; `lies` replace claims of the signed token.

    What is `told` stands in no token: it has to be asked for.
    """

    issuer: str
    claims: dict[str, Any] = field(default_factory=dict)
    lies: dict[str, Any] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    signed_with: str = "published"
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def authorize(self, address: str) -> tuple[str, dict[str, str]]:
        """Consent, as a person in a browser does; return where to, and what is in the query."""
        asked = {k: v[0] for k, v in parse_qs(urlsplit(address).query).items()}
        code = secrets.token_hex(8)
        self.codes[code] = asked
        return asked["redirect_uri"], {"code": code, "state": asked["state"]}

    def token(self, form: dict[str, str]) -> dict[str, Any]:
        """Exchange a code once, for whoever knows what its hash was sent before."""
        asked = self.codes.pop(form["code"])
        hashed = hashlib.sha256(form["code_verifier"].encode()).digest()
        proof = base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()
        assert proof == asked["code_challenge"]
        claims = {
            "iss": self.issuer,
            "aud": asked["client_id"],
            "iat": int(time.time()),
            "exp": int(time.time()) + 60,
            "nonce": asked["nonce"],
            **self.claims,
            **self.lies,
        }
        key = signing_key(self.signed_with)
        signed = jwt.encode({"alg": "RS256", "kid": "published"}, claims, key)
        return {"access_token": "a", "token_type": "Bearer", "id_token": signed}

    def document(self, path: str) -> dict[str, Any]:
        if path == "/keys":
            return {"keys": [signing_key("published").as_dict(private=False)]}
        if path == "/userinfo":
            return self.told
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "id_token_signing_alg_values_supported": ["RS256"],
        }


@contextmanager
def running_provider() -> Iterator[Provider]:
    """Run one on a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/authorize?"):
                target, query = provider.authorize(self.path)
                self.send_response(302)
                self.send_header("location", f"{target}?{urlencode(query)}")
                self.end_headers()
                return
            self._answer(provider.document(self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            self._answer(provider.token({k: v[0] for k, v in parse_qs(body).items()}))

        def _answer(self, document: dict[str, Any]) -> None:
            content = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = Provider(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield provider
    server.shutdown()
    thread.join()
    server.server_close()

"""An OpenID Connect provider on 127.0.0.1: a real one, but for what a test tells it to do wrong."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import secrets
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

CLIENT, SECRET = "tdsys-test", "a secret of the client, with / and :"
Claims = dict[str, Any]


def _key(name: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": name, "use": "sig"}, private=True)


@dataclass
class IdentityProvider:
    """Who it knows, how it signs, and what it was asked."""

    issuer: str = ""
    back: str = ""
    people: dict[str, Claims] = field(default_factory=dict)
    key: ECKey | RSAKey = field(default_factory=lambda: _key("first"))
    algorithm: str = "ES256"
    forge: Callable[[Claims], Claims] = lambda claims: claims
    document: Claims = field(default_factory=dict)  # what its discovery says otherwise
    status: int = 200
    ahead: float = 0.0  # seconds of its clock
    asked: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def rotate(self) -> None:
        """Sign with another key from now on."""
        self.key = _key("second")

    def token(self, given: dict[str, str]) -> str:
        """The ID token of whoever was given a code, signed as told."""
        now = int(time.time() + self.ahead)
        claims = self.forge(
            {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300,
             "nonce": given["nonce"], **self.people[given["login"]]}
        )  # fmt: skip
        head = {"alg": self.algorithm, "kid": self.key.kid}
        if self.algorithm == "none":
            return f"{_packed(head)}.{_packed(claims)}."
        if self.algorithm == "HS256":
            # What is public, as the secret: a verifier that lets the token choose would take it.
            shared = OctKey.import_key(json.dumps(self.key.as_dict(private=False)))
            return jwt.encode(head, claims, shared, algorithms=["HS256"])
        return jwt.encode(head, claims, self.key, algorithms=[self.algorithm])


def _packed(value: Claims) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@contextmanager
def provided() -> Iterator[IdentityProvider]:
    """One that listens."""
    told = IdentityProvider()

    class Answers(_Answers):
        provider = told

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    told.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Answers(BaseHTTPRequestHandler):
    provider: IdentityProvider

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        path, _, words = self.path.partition("?")
        told = self.provider
        told.asked.append(path)
        if path == "/.well-known/openid-configuration":
            self._json({
                "issuer": told.issuer, "authorization_endpoint": f"{told.issuer}/authorize",
                "token_endpoint": f"{told.issuer}/token", "jwks_uri": f"{told.issuer}/keys",
                "authorization_response_iss_parameter_supported": True, **told.document,
            })  # fmt: skip
        elif path == "/keys":
            self._json({"keys": [told.key.as_dict(private=False)]})
        else:
            self._authorize(dict(urllib.parse.parse_qsl(words)))

    def _authorize(self, asked: dict[str, str]) -> None:
        told = self.provider
        assert asked["client_id"] == CLIENT
        assert asked["redirect_uri"] == told.back
        assert asked["code_challenge_method"] == "S256"
        login = asked.pop("login", "")
        if not login:
            here = html.escape(urllib.parse.urlencode(asked))
            links = "".join(
                f'<a href="/authorize?login={n}&{here}">I am {n}</a> ' for n in told.people
            )
            self._send(200, f"<title>Provider</title><h1>Who are you?</h1>{links}".encode())
            return
        code = secrets.token_urlsafe(12)
        told.codes[code] = {**asked, "login": login}
        words = urllib.parse.urlencode({"code": code, "state": asked["state"], "iss": told.issuer})
        self.send_response(302)
        self.send_header("location", f"{asked['redirect_uri']}?{words}")
        self.end_headers()

    def do_POST(self) -> None:
        told = self.provider
        told.asked.append(self.path)
        body = self.rfile.read(int(self.headers["content-length"]))
        form = dict(urllib.parse.parse_qsl(body.decode()))
        proof = base64.b64decode(self.headers.get("authorization", "").removeprefix("Basic "))
        client, _, secret = proof.decode().partition(":")
        given = told.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            given is None
            or (client, urllib.parse.unquote(secret)) != (CLIENT, SECRET)
            or form["redirect_uri"] != given["redirect_uri"]
            or challenge != given["code_challenge"]
        ):
            self._json({"error": "invalid_grant"}, 400)
            return
        self._json({"access_token": "x", "token_type": "Bearer", "id_token": told.token(given)})

    def _json(self, value: Claims, status: int = 0) -> None:
        self._send(status or self.provider.status, json.dumps(value).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str = "text/html") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

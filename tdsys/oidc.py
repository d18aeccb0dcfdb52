"""An OpenID Connect provider as its client sees it: the only httpx and JOSE.

The provider is asked with limits of time and size, and at most by a few at once, so one that is
away or slow holds up nobody but who signs in by it. Its document and keys are kept for a while; a
token with a key that is not among them has them read once more.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import BoundedSemaphore
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import httpx
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from tdsys.core.identity import NotVouched
from tdsys.errors import ConfigurationError, Transient

# Asymmetric only: with HS256 whoever knows the client's secret, or a public key, could sign.
ALGORITHMS = (
    *(f"{kind}{size}" for kind in ("RS", "PS", "ES") for size in (256, 384, 512)),
    "EdDSA",
)  # fmt: skip
KEY_TYPES = frozenset({"RSA", "EC", "OKP"})
KEPT = timedelta(hours=1)
AGAIN = timedelta(seconds=5)  # between two looks for keys that are not there
LONGEST_WAIT = 6.0  # seconds for an answer, to its last byte
LONGEST_ANSWER = 1 << 20
AT_ONCE = 8
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Registration(NamedTuple):
    """What a provider and this service know of each other."""

    issuer: str
    client_id: str
    secret: str = ""
    scopes: str = "openid profile email"
    title: str = ""

    @property
    def called(self) -> str:
        """What people read on the button."""
        return self.title or str(urlsplit(self.issuer).hostname)


class ProviderAway(Transient):
    """The provider does not answer, or answers with nothing one can use."""


class Provider:
    """One provider; one per process."""

    def __init__(self, registration: Registration, *, clock: Callable[[], datetime]) -> None:
        self.registration = registration
        self._clock = clock
        self._places = BoundedSemaphore(AT_ONCE)
        self._kept: dict[str, tuple[datetime, dict[str, Any]]] = {}
        address = urlsplit(registration.issuer)
        self._is_here = address.hostname in LOOPBACK
        if not registration.client_id:
            raise ConfigurationError(
                "TDSYS_OIDC_CLIENT_ID is not set", remedy="register this service with the provider"
            )
        if not self._is_safe(registration.issuer):
            raise ConfigurationError(
                f"TDSYS_OIDC_ISSUER {registration.issuer!r} is no https address",
                remedy="use the issuer of the provider, https://...",
            )
        # a proxy of the environment is for what is elsewhere
        self._client = httpx.Client(
            timeout=httpx.Timeout(LONGEST_WAIT / 2, connect=LONGEST_WAIT / 3),
            follow_redirects=False,
            trust_env=not self._is_here,
            headers={"accept": "application/json"},
        )

    @property
    def issuer(self) -> str:
        """Who vouches."""
        return self.registration.issuer

    def address(self, *, back: str, state: str, nonce: str, verifier: str) -> str:
        """Where a browser is sent to sign in there; it comes back to `back`."""
        there = self._endpoint("authorization_endpoint")
        asked = {
            "response_type": "code",
            "client_id": self.registration.client_id,
            "redirect_uri": back,
            "scope": self.registration.scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge(verifier),
            "code_challenge_method": "S256",
        }
        return f"{there}{'&' if urlsplit(there).query else '?'}{urlencode(asked)}"

    def claims(self, *, code: str, back: str, verifier: str) -> dict[str, Any]:
        """What the provider says of whoever brought the code, signed by it; NotVouched."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": back,
            "code_verifier": verifier,
        }
        auth = self._proof(form)
        status, told = self._ask("POST", self._endpoint("token_endpoint"), form=form, auth=auth)
        token = told.get("id_token")
        if status != httpx.codes.OK or not isinstance(token, str):
            raise NotVouched(
                f"{self.registration.called} did not take the code it gave: "
                f"{str(told.get('error', 'no token came'))[:60]}",
                remedy="sign in once more",
            )
        return self.signed(token)

    def signed(self, token: str) -> dict[str, Any]:
        """The claims of a token, if its signature is the provider's; NotVouched."""
        kid, where = _key_name(token), self._endpoint("jwks_uri")
        for longest in (KEPT, AGAIN):  # what was kept, and then what it has now
            for key in self._keys(kid, self._document("jwks_uri", where, longest=longest)):
                try:
                    return jwt.decode(token, key, registry=_registry()).claims
                except (JoseError, ValueError):
                    continue
        raise _not_signed()

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def _proof(self, form: dict[str, str]) -> httpx.BasicAuth | None:
        """How this service proves that it is the client: in the way the provider takes."""
        known, secret = self.registration.client_id, self.registration.secret
        ways = self._discovered().get("token_endpoint_auth_methods_supported")
        if secret and (not isinstance(ways, list) or "client_secret_basic" in ways):
            return httpx.BasicAuth(quote(known, safe=""), quote(secret, safe=""))
        form["client_id"] = known
        if secret:
            form["client_secret"] = secret
        return None

    def says_who_it_is(self) -> bool:
        """Whether it names itself when it sends a browser back."""
        return self._discovered().get("authorization_response_iss_parameter_supported") is True

    def _discovered(self) -> dict[str, Any]:
        where = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
        found = self._document("discovery", where)
        if found.get("issuer") != self.issuer:
            self._kept.pop("discovery", None)
            raise self._away(f"it calls itself {str(found.get('issuer'))[:80]!r}")
        return found

    def _endpoint(self, name: str) -> str:
        found = self._discovered().get(name)
        if not isinstance(found, str) or not self._is_safe(found):
            raise self._away(f"its {name} is not usable")
        return found

    def _is_safe(self, address: str) -> bool:
        parts = urlsplit(address)
        is_plain = self._is_here and parts.scheme == "http" and parts.hostname in LOOPBACK
        return bool(parts.hostname) and (parts.scheme == "https" or is_plain)

    def _keys(self, kid: str | None, document: Mapping[str, Any]) -> list[Key]:
        """The keys that may have signed: by the name in the token, else all."""
        listed = document.get("keys")
        found = []
        for one in listed if isinstance(listed, list) else ():
            if not isinstance(one, dict) or one.get("kty") not in KEY_TYPES:
                continue
            if one.get("use", "sig") == "sig" and (kid is None or one.get("kid") == kid):
                try:
                    found.append(JWKRegistry.import_key(one))
                except (JoseError, ValueError, TypeError, KeyError):
                    continue
        return found

    def _document(self, name: str, where: str, *, longest: timedelta = KEPT) -> dict[str, Any]:
        now = self._clock()
        at, found = self._kept.get(name, (None, {}))
        if at is not None and now - at < longest:
            return found
        status, found = self._ask("GET", where)
        if status != httpx.codes.OK:
            raise self._away(f"it answers with {status}")
        self._kept[name] = now, found
        return found

    def _ask(
        self,
        method: str,
        where: str,
        *,
        form: Mapping[str, str] | None = None,
        auth: httpx.BasicAuth | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Status and document of an answer; ProviderAway for one that is none."""
        try:
            with self._turn(), self._client.stream(method, where, data=form, auth=auth) as answer:
                body = self._body(answer)
            status = answer.status_code
            found = json.loads(body) if body else {}
        except (httpx.HTTPError, httpx.InvalidURL) as bad:
            raise self._away(type(bad).__name__) from bad
        except (ValueError, RecursionError) as bad:
            raise self._away("it does not answer in JSON") from bad
        if status >= httpx.codes.INTERNAL_SERVER_ERROR or not isinstance(found, dict):
            raise self._away(f"it answers with {status}")
        return status, found

    def _body(self, answer: httpx.Response) -> bytes:
        """All of it, if it comes in time."""
        until, taken = time.monotonic() + LONGEST_WAIT, bytearray()
        for piece in answer.iter_bytes():
            taken += piece
            if len(taken) > LONGEST_ANSWER or time.monotonic() > until:
                raise self._away("its answer has no end")
        return bytes(taken)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise Transient("too many people sign in just now", remedy="try again in a moment")
        try:
            yield
        finally:
            self._places.release()

    def _away(self, because: str) -> ProviderAway:
        return ProviderAway(
            f"{self.registration.called} cannot be reached just now ({because})",
            remedy="try again in a moment, or sign in with a password",
        )


def challenge(verifier: str) -> str:
    """What is told of a secret before it is shown (PKCE, S256)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _registry() -> jws.JWSRegistry:
    return jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)


def _key_name(token: str) -> str | None:
    """The name of the key in a token's head; NotVouched for what is no token one may believe."""
    try:
        head = jws.extract_compact(token.encode(), registry=_registry()).headers()
    except (JoseError, ValueError) as bad:
        raise _not_signed() from bad
    if head.get("alg") not in ALGORITHMS:
        raise _not_signed()
    found = head.get("kid")
    return found if isinstance(found, str) else None


def _not_signed() -> NotVouched:
    return NotVouched(
        "what the provider sent does not prove who you are: it is not signed by it",
        remedy="sign in once more; if it happens again, tell whoever runs this service",
    )

"""Who an identity provider says somebody is, and what that makes of them here.

Claims are a stranger's words until `checked`: nothing is taken from them before.
"""

from __future__ import annotations

import hmac
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from tdsys.core.people import LONGEST_NAME, Role, check_domains, check_name, check_role
from tdsys.errors import InvalidInput

LEEWAY = 60  # seconds that the provider's clock may be wrong by
OLDEST = 600  # seconds since the provider made the token
LONGEST_SUBJECT = 255
_OTHER = re.compile(r"[^a-z0-9._@+-]+")


class NotVouched(InvalidInput):
    """The provider does not say in a way one can believe who this is."""


class First(StrEnum):
    """What a first sign-in makes of somebody who has no account here."""

    REFUSED = "refused"
    VIEWER = "viewer"
    MAPPED = "mapped"


class Grant(NamedTuple):
    """A role, and the domains it is limited to; None: all."""

    role: Role
    domains: frozenset[str] | None = None


class Terms(NamedTuple):
    """What is agreed on: `grants` are by values of the claim, for `mapped`."""

    first: First = First.REFUSED
    claim: str = "groups"
    grants: Mapping[str, Grant] = {}


class Identity(NamedTuple):
    """Somebody as a provider knows them; the name is only a wish."""

    issuer: str
    subject: str
    name: str
    claims: Mapping[str, Any]


def checked(
    claims: Mapping[str, Any], *, issuer: str, client_id: str, nonce: str, now: datetime
) -> Identity:
    """The identity in the claims of a token whose signature holds; NotVouched."""
    if claims.get("iss") != issuer:
        raise _not("it was made by another provider")
    meant = claims.get("aud")
    audience = meant if isinstance(meant, list) else [meant]
    if client_id not in audience:
        raise _not("it is meant for another service")
    party = claims.get("azp", client_id if len(audience) == 1 else None)
    if party != client_id:
        raise _not("it was given to another service")
    _check_times(claims, now.timestamp())
    said = claims.get("nonce")
    if not isinstance(said, str) or not hmac.compare_digest(said.encode(), nonce.encode()):
        raise _not("it answers another question")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT or "\0" in subject:
        raise _not("it names nobody")
    return Identity(issuer, subject, _wished(claims), claims)


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    ends, made, begins = (_seconds(claims.get(name)) for name in ("exp", "iat", "nbf"))
    if ends is None or made is None:
        raise _not("it does not say when it was made and ends")
    if ends < now - LEEWAY or made < now - OLDEST:
        raise _not("it is too old")
    if max(made, begins or made) > now + LEEWAY:
        raise _not("it is from the future")


def _seconds(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def _not(because: str) -> NotVouched:
    return NotVouched(
        f"what the provider sent does not prove who you are: {because}",
        remedy="sign in once more; if it happens again, tell whoever runs this service",
    )


def _wished(claims: Mapping[str, Any]) -> str:
    """A name to sign in with, out of what the provider calls somebody."""
    for name in ("preferred_username", "email", "name"):
        told = claims.get(name)
        if isinstance(told, str):
            small = _OTHER.sub("-", told.strip().lower()).strip("-._@+")
            if small:
                return check_name(small[: LONGEST_NAME - 4].rstrip("-._@+"))
    return "somebody"


def granted(identity: Identity, terms: Terms) -> Grant | None:
    """What the terms give somebody; None: no account.

    Of several grants the greatest role counts, with the domains of the grants of that role: no
    mixture of two ever allows what neither does.
    """
    if terms.first is First.VIEWER:
        return Grant(Role.VIEWER)
    if terms.first is First.REFUSED:
        return None
    held = [terms.grants[value] for value in _values(identity.claims, terms.claim)
            if value in terms.grants]  # fmt: skip
    if not held:
        return None
    order = list(Role)
    role = max((one.role for one in held), key=order.index)
    limits = [one.domains for one in held if one.role is role]
    named = [one for one in limits if one is not None]
    is_limited = len(named) == len(limits)
    return Grant(role, frozenset().union(*named) if is_limited else None)


def _values(claims: Mapping[str, Any], path: str) -> list[str]:
    """The words of a claim: at its name, else where the dots lead (`realm_access.roles`)."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
    words = found if isinstance(found, list) else [found]
    return [word for word in words if isinstance(word, str)]


def grants_of(text: str) -> dict[str, Grant]:
    """Grants as settings hold them: `{"staff": "viewer", "x": {"role": ..., "domains": [...]}}`."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError) as bad:
        raise InvalidInput(f"the roles are no JSON: {bad}", remedy='use {"GROUP": "ROLE"}') from bad
    if not isinstance(found, dict):
        raise InvalidInput("the roles are no JSON object", remedy='use {"GROUP": "ROLE"}')
    return {value: _grant(one) for value, one in found.items()}


def _grant(told: object) -> Grant:
    if isinstance(told, str):
        return Grant(check_role(told))
    if isinstance(told, dict) and {"role"} <= told.keys() <= {"role", "domains"}:
        names = told.get("domains")
        if names is None or (isinstance(names, list) and all(isinstance(n, str) for n in names)):
            role = check_role(str(told["role"]))
            return Grant(role, check_domains(role, names))
    raise InvalidInput(
        "a group has neither a role nor a role with domains",
        remedy='use "ROLE" or {"role": "ROLE", "domains": ["DOMAIN"]}',
    )

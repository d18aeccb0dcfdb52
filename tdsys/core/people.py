"""Who may do what: roles, the rights of each, and the domains a person is limited to."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from tdsys.core.example import check_domain
from tdsys.errors import InvalidInput, NotAllowed, NotFound

LONGEST_NAME = 64
SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]*")


class Role(StrEnum):
    """What somebody is trusted with; each may do what those before it may."""

    VIEWER = "viewer"
    REVIEWER = "reviewer"
    CURATOR = "curator"
    OPERATOR = "operator"
    ADMIN = "admin"


class Right(StrEnum):
    """What an action needs."""

    LOOK = "look"
    REVIEW = "review"
    CURATE = "curate"
    OPERATE = "operate"
    ADMINISTER = "administer"


ROLES: dict[Role, frozenset[Right]] = {
    Role.VIEWER: frozenset({Right.LOOK}),
    Role.REVIEWER: frozenset({Right.LOOK, Right.REVIEW}),
    Role.CURATOR: frozenset({Right.LOOK, Right.REVIEW, Right.CURATE}),
    Role.OPERATOR: frozenset({Right.LOOK, Right.REVIEW, Right.CURATE, Right.OPERATE}),
    Role.ADMIN: frozenset(Right),
}
DUTIES: dict[Role, str] = {
    Role.VIEWER: "looks at everything, changes nothing",
    Role.REVIEWER: "decides examples that wait for a person",
    Role.CURATOR: "also moves and edits examples, and many at once",
    Role.OPERATOR: "also imports, changes policies, starts and stops runs",
    Role.ADMIN: "also manages people; never limited to domains",
}


class Person(NamedTuple):
    """Somebody who is signed in; `domains` is None for all of them."""

    id: int
    name: str
    role: Role
    rights: frozenset[Right]
    domains: frozenset[str] | None = None

    def may(self, right: Right, *, domain: str | None = None) -> bool:
        """Whether this person has the right, and in `domain` if one is named."""
        return right in self.rights and (domain is None or self.sees(domain))

    def sees(self, domain: str) -> bool:
        """Whether the domain is one of this person's."""
        return self.domains is None or domain in self.domains

    def require(self, right: Right, *, domain: str | None = None) -> None:
        """NotFound for a domain that is not this person's, NotAllowed without the right."""
        if domain is not None and not self.sees(domain):
            raise hidden(domain)
        if right not in self.rights:
            least = next(role for role, rights in ROLES.items() if right in rights)
            if right in ROLES[self.role]:
                raise NotAllowed(
                    f"this needs the right to {right}, which this token leaves out",
                    remedy=f"use a token of the role {least}",
                )
            raise NotAllowed(
                f"this needs the right to {right}, which the role {self.role} has not got",
                remedy=f"ask an admin for the role {least}",
            )


def hidden(domain: str) -> NotFound:
    """What is said of a domain that is not there, and of one that is another's."""
    return NotFound(
        f"there is no domain {domain!r} that you may see",
        remedy="look at the list of domains, or ask an admin for it",
    )


def check_name(name: str) -> str:
    """A name to sign in with, in small letters; InvalidInput for one that is none."""
    small = name.strip().lower()
    if _NAME.fullmatch(small) and len(small) <= LONGEST_NAME:
        return small
    raise InvalidInput(
        f"{name[:LONGEST_NAME]!r} is not a name to sign in with",
        remedy=f"use 1 to {LONGEST_NAME} letters, digits and . _ @ + -",
    )


def check_password(password: str, *, name: str) -> str:
    """A password as it was; InvalidInput for one that is easily guessed or endless."""
    if name.lower() in password.lower() and len(password) < SHORTEST_PASSWORD + len(name):
        raise InvalidInput("the password holds your name", remedy="choose another")
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise InvalidInput(
            f"the password has {len(password)} characters",
            remedy=f"use {SHORTEST_PASSWORD} or more, for example four words",
        )
    if len(set(password)) < SHORTEST_PASSWORD // 3:
        raise InvalidInput("the password repeats few characters", remedy="choose another")
    return password


def check_role(text: str) -> Role:
    """The role of that name; InvalidInput for another word."""
    try:
        return Role(text)
    except ValueError:
        raise InvalidInput(
            f"{text[:LONGEST_NAME]!r} is not a role", remedy=f"there are {', '.join(Role)}"
        ) from None


def check_domains(role: Role, names: list[str] | None) -> frozenset[str] | None:
    """The domains somebody is limited to, None for all; InvalidInput for an admin's."""
    if names is None:
        return None
    if role is Role.ADMIN:
        raise InvalidInput("an admin is never limited to domains", remedy="choose another role")
    found = frozenset(check_domain(name) for name in names)
    if not found:
        raise InvalidInput("the list of domains is empty", remedy="name one, or allow all")
    return found


def wait_after(failures: int) -> int:
    """Seconds until the next try to sign in: none for four, then 30 doubling to 15 minutes."""
    free, first, longest = 4, 30, 900
    return 0 if failures <= free else min(longest, first << min(failures - free - 1, 10))

"""Who is who at an identity provider, who is on the way there, and how fast somebody may act.

Under the same rule as `tdsys.store.schema`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

from tdsys.store.people_schema import users
from tdsys.store.schema import flag, metadata, time_

# The provider's address and its name for somebody are all that finds an account: e-mail addresses
# and names can be given to another. `follows`: role and domains are the provider's to say.
identities = Table(
    "identities",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("user_id", BigInteger, ForeignKey(users.c.id), nullable=False),
    flag("follows"),
    time_("created_at"),
    time_("seen_at"),
    UniqueConstraint("issuer", "subject"),
    Index(None, "user_id"),
)

# One row is one question to the provider; it is taken away by the first answer. `browser` is the
# hash of the token of the browser that asked, `user_id` whose account the answer is to be tied to.
provider_visits = Table(
    "provider_visits",
    metadata,
    Column("state", LargeBinary, primary_key=True),
    Column("browser", LargeBinary, nullable=False),
    Column("nonce", Text, nullable=False),
    Column("verifier", Text, nullable=False),
    Column("next", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("user_id", BigInteger, ForeignKey(users.c.id)),
    time_("created_at"),
    Index(None, "created_at"),
    Index(None, "address"),
)

# `even_at`: when everything done so far would have been done at the pace that is allowed.
paces = Table(
    "paces",
    metadata,
    Column("who", Text, nullable=False),
    Column("kind", Text, nullable=False),
    time_("even_at"),
    PrimaryKeyConstraint("who", "kind"),
)

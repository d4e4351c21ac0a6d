"""Who people are: signing up and in, sessions, tokens, passwords, invitations and roles.

Use cases of administration take an Actor; None in his place is the operator at the command line,
who may do everything that is possible at all.
"""

from __future__ import annotations

from knownface.identity.desk import Desk
from knownface.identity.entrance import External, Identity, Place, SignedIn, SignUp
from knownface.identity.invitations import Invitations
from knownface.identity.tokens import Tokens
from knownface.identity.users import Users

__all__ = [
    "Desk",
    "External",
    "Identity",
    "Invitations",
    "Place",
    "SignUp",
    "SignedIn",
    "Tokens",
    "Users",
]

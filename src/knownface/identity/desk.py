"""Everything about people of one Store, wired once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from knownface.identity.entrance import Identity
from knownface.identity.invitations import Invitations
from knownface.identity.tokens import Tokens
from knownface.identity.users import Users
from knownface.mail import Mailer
from knownface.signing import Signer, signing_secret

if TYPE_CHECKING:
    from knownface.store import Store


class Desk:
    """Where people are dealt with; what it says of the parts stands with each of them."""

    def __init__(
        self, store: Store, *, registration: str, public_url: str, smtp_url: str, mail_from: str
    ) -> None:
        self.store = store
        self.signer = Signer(signing_secret(store))
        self.mailer = Mailer(smtp_url, mail_from)
        self.identity = Identity(
            store, self.signer, self.mailer, registration=registration, public_url=public_url
        )
        self.users = Users(store)
        self.tokens = Tokens(store)
        self.invitations = Invitations(store, self.mailer, registration)

    def close(self) -> None:
        """Send the mails that wait."""
        self.mailer.close()

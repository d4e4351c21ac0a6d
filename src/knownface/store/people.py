"""People, their roles on the server, and the applications they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, true, update

from knownface.errors import UserNotFound
from knownface.people import Member, Role, User, UserPage
from knownface.store.credentials import Credentials
from knownface.store.names import normalized
from knownface.store.people_tables import membership, person
from knownface.store.queries import now
from knownface.store.tables import application

if TYPE_CHECKING:
    from sqlalchemy.engine import Row

USER_COLUMNS = (
    person.c.id,
    person.c.email,
    person.c.first_name,
    person.c.last_name,
    person.c.role,
    person.c.created_at,
)
_users = select(*USER_COLUMNS)


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody about to get an account; without a password hash he signs in elsewhere."""

    email: str
    first_name: str
    last_name: str
    role: Role
    password_hash: str | None = None
    oidc: tuple[str, str] | None = None  # issuer and subject


class People(Credentials):
    """Who administers the server. E-mail addresses are kept in lower case."""

    def add_user(self, newcomer: Newcomer) -> User | None:
        """None when the e-mail is taken, or when there is an owner and this would be another."""
        issuer, subject = newcomer.oidc or (None, None)
        values = {
            "email": normalized(newcomer.email),
            "first_name": normalized(newcomer.first_name),
            "last_name": normalized(newcomer.last_name),
            "role": newcomer.role.value,
            "password_hash": newcomer.password_hash,
            "oidc_issuer": issuer,
            "oidc_subject": subject,
            "created_at": now(),
        }
        number = self.insert_unless_taken(person, person.c.id, values)
        return None if number is None else self.user(number)

    def user(self, user_id: int, *, lock: bool = False) -> User:
        """The one of that number; with `lock` nobody else changes him meanwhile. UserNotFound."""
        found = self._one_user(person.c.id == user_id, lock=lock)
        if found is None:
            raise UserNotFound
        return found

    def user_by_email(self, email: str) -> User | None:
        """The one of that address, in lower case."""
        return self._one_user(person.c.email == normalized(email))

    def user_by_oidc(self, issuer: str, subject: str) -> User | None:
        """The one whom a provider of OpenID Connect knows by this name."""
        return self._one_user(person.c.oidc_issuer == issuer, person.c.oidc_subject == subject)

    def owner(self) -> User | None:
        """The owner of the server; None until the first person has signed up."""
        return self._one_user(person.c.role == Role.OWNER.value)

    def password_hash(self, user_id: int) -> str | None:
        """What the password is checked against; None for who has none."""
        found: str | None = self.connection.execute(
            select(person.c.password_hash).where(person.c.id == user_id)
        ).scalar_one_or_none()
        return found

    def has_oidc(self, user_id: int) -> bool:
        """Tell whether a provider's word is enough for somebody to sign in."""
        found = self.connection.execute(
            select(person.c.id).where(person.c.id == user_id, person.c.oidc_subject.is_not(None))
        )
        return found.first() is not None

    def set_password_hash(self, user_id: int, password_hash: str) -> None:
        """UserNotFound."""
        self._change(user_id, password_hash=password_hash)

    def set_names(self, user_id: int, first_name: str, last_name: str) -> None:
        """UserNotFound."""
        names = {"first_name": normalized(first_name), "last_name": normalized(last_name)}
        self._change(user_id, **names)

    def set_oidc(self, user_id: int, issuer: str | None, subject: str | None) -> None:
        """Let a provider's word be enough for somebody to sign in, or not. UserNotFound."""
        self._change(user_id, oidc_issuer=issuer, oidc_subject=subject)

    def set_role(self, user_id: int, role: Role) -> None:
        """Change the role on the server; who had been the owner must not be it any more.

        UserNotFound.
        """
        self._change(user_id, role=role.value)

    def delete_user(self, user_id: int) -> None:
        """Erase somebody with all that lets him in. UserNotFound."""
        if self.connection.execute(delete(person).where(person.c.id == user_id)).rowcount == 0:
            raise UserNotFound
        self.erased = True

    def users(self, search: str, page: int, size: int, *, beside: int | None = None) -> UserPage:
        """Return users whose name or address holds `search`, by last and first name.

        With `beside` only this one and those who share an application with him.
        """
        which = [_matching(search)] if search else []
        if beside is not None:
            which.append(or_(person.c.id == beside, person.c.id.in_(_sharing(beside))))
        total = self.connection.execute(
            select(func.count()).select_from(person).where(*which)
        ).scalar_one()
        rows = self.connection.execute(
            _users.where(*which)
            .order_by(func.lower(person.c.last_name), func.lower(person.c.first_name), person.c.id)
            .limit(size)
            .offset(page * size)
        )
        return UserPage(tuple(user_of(row) for row in rows), page, size, total)

    def share_application(self, user_id: int, other: int) -> bool:
        """Tell whether there is an application that both belong to."""
        return user_id == other or (
            self.connection.execute(
                select(person.c.id).where(person.c.id == other, person.c.id.in_(_sharing(user_id)))
            ).first()
            is not None
        )

    # Where they belong

    def membership(self, application_id: int, user_id: int) -> Role | None:
        """The role of somebody in an application, None where he does not belong to it."""
        role = self.connection.execute(
            select(membership.c.role).where(
                membership.c.application_id == application_id, membership.c.user_id == user_id
            )
        ).scalar_one_or_none()
        return None if role is None else Role(role)

    def memberships(self, user_id: int) -> dict[int, Role]:
        """The role of somebody in each application that he belongs to, by its number."""
        rows = self.connection.execute(
            select(membership.c.application_id, membership.c.role)
            .where(membership.c.user_id == user_id)
            .order_by(membership.c.application_id)
        )
        return {row.application_id: Role(row.role) for row in rows}

    def owned(self, user_id: int) -> dict[int, str]:
        """The name of each application that somebody owns, by its number."""
        rows = self.connection.execute(
            select(application.c.id, application.c.name)
            .join_from(membership, application)
            .where(membership.c.user_id == user_id, membership.c.role == Role.OWNER.value)
            .order_by(application.c.id)
        )
        return {row.id: row.name for row in rows}

    def application_exists(self, application_id: int) -> bool:
        """Tell whether there is an application of that number."""
        found = self.connection.execute(
            select(application.c.id).where(application.c.id == application_id)
        )
        return found.first() is not None

    def members(self, application_id: int) -> list[Member]:
        """Everybody who belongs to an application, by last and first name."""
        rows = self.connection.execute(
            select(*USER_COLUMNS, membership.c.role.label("there"))
            .join_from(membership, person)
            .where(membership.c.application_id == application_id)
            .order_by(func.lower(person.c.last_name), func.lower(person.c.first_name), person.c.id)
        )
        return [Member(user_of(row), Role(row.there)) for row in rows]

    def set_membership(self, application_id: int, user_id: int, role: Role) -> None:
        """Let somebody belong to an application in this role.

        An application has one owner: whoever was it gets another role, or leaves, before.
        """
        where = (membership.c.application_id == application_id, membership.c.user_id == user_id)
        values = {"application_id": application_id, "user_id": user_id, "role": role.value}
        changed = self.connection.execute(
            update(membership).where(*where).values(role=role.value)
        ).rowcount
        if not changed:
            self.connection.execute(membership.insert().values(values))

    def remove_membership(self, application_id: int, user_id: int) -> bool:
        """Let somebody not belong to an application any more; False if he did not."""
        removed = self.connection.execute(
            delete(membership).where(
                membership.c.application_id == application_id, membership.c.user_id == user_id
            )
        )
        return removed.rowcount > 0

    def _change(self, user_id: int, **values: str | None) -> None:
        changed = self.connection.execute(
            update(person).where(person.c.id == user_id).values(values)
        )
        if changed.rowcount == 0:
            raise UserNotFound

    def _one_user(self, *which: ColumnElement[bool], lock: bool = False) -> User | None:
        statement = _users.where(*which)
        row = self.connection.execute(
            statement.with_for_update() if lock else statement
        ).one_or_none()
        return None if row is None else user_of(row)


def user_of(row: Row[*tuple[object, ...]]) -> User:
    """Return the user whom the columns USER_COLUMNS of a row tell of."""
    return User(row.id, row.email, row.first_name, row.last_name, Role(row.role), row.created_at)


def _sharing(user_id: int) -> Select[int]:
    """Who belongs to an application that this one belongs to."""
    own = select(membership.c.application_id).where(membership.c.user_id == user_id)
    return select(membership.c.user_id).where(membership.c.application_id.in_(own))


def _matching(search: str) -> ColumnElement[bool]:
    """Every word is part of a name or of the address, in whatever letter case."""
    text = func.lower(person.c.first_name + " " + person.c.last_name + " " + person.c.email)
    words = normalized(search).lower().split()
    return and_(true(), *(text.contains(word, autoescape=True) for word in words))

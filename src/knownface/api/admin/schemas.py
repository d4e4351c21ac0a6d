"""Bodies of the calls about people, as they are sent and answered."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from knownface.api.schemas import Schema

RoleName = Literal["OWNER", "ADMINISTRATOR", "USER"]
Text = Annotated[str, StringConstraints(max_length=1000)]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Sent(BaseModel):
    """A body that is sent; fields that nobody knows are passed over."""

    model_config = ConfigDict(hide_input_in_errors=True)


class Changes(Sent):
    """A body of what is to change, one field at least: a name that is misspelt changes nothing."""

    @model_validator(mode="after")
    def _refuse_nothing(self) -> Self:
        if not self.model_fields_set:
            known = ", ".join(type(self).model_fields)
            raise ValueError(f"holds nothing that can be changed: send {known}")
        return self


# Sent


class Credentials(Sent):
    email: Text
    password: Text


class NewUser(Sent):
    email: Text
    first_name: Text
    last_name: Text
    password: Text = Field(description="8 to 255 characters, not the e-mail address.")
    invitation: Text | None = Field(
        None, description="What stands behind /join/ in the link of an invitation."
    )


class Names(Sent):
    first_name: Text
    last_name: Text


class PasswordChange(Sent):
    old_password: Text
    new_password: Text


class NewToken(Sent):
    name: Text
    expires_at: AwareDatetime | None = None


class ResetRequest(Sent):
    email: Text


class NewPassword(Sent):
    password: Text


class NewRole(Sent):
    role: RoleName


class NewInvitation(Sent):
    email: Text | None = Field(None, description="Whom it is for; without one, whoever has it.")
    role: Literal["ADMINISTRATOR", "USER"] = Field(
        "USER", description="In the application, or else on the whole server."
    )
    application_id: Annotated[int, Field(ge=1, le=2**53)] | None = None


# Answered


class User(Schema):
    id: int
    email: str
    first_name: str
    last_name: str
    role: RoleName
    created_at: Moment


class UserProfile(User):
    owns: list[str] | None = Field(
        None, description="Applications that would pass to somebody else, for who may delete users."
    )


class UserList(Schema):
    users: list[User]
    page: int
    size: int
    total: int


class Provider(Schema):
    name: str


class State(Schema):
    signed_in: bool
    owner_exists: bool = Field(description="False: the next one to sign up will own the server.")
    registration: Literal["invited", "open", "closed"]
    mail: bool = Field(description="Whether links reach people by mail.")
    oidc: Provider | None
    user: User | None
    csrf_token: str | None = Field(
        description="To be sent as X-CSRF-Token with what changes anything by a cookie."
    )


class SignedIn(Schema):
    user: User
    csrf_token: str


class Session(Schema):
    id: int
    created_at: Moment
    last_seen_at: Moment
    address: str
    agent: str
    current: bool


class SessionList(Schema):
    sessions: list[Session]


class Token(Schema):
    id: int
    name: str
    created_at: Moment
    expires_at: Moment | None
    last_used_at: Moment | None


class TokenList(Schema):
    tokens: list[Token]


class MadeToken(Token):
    token: str = Field(description="Shown only now.")


class Me(User):
    has_password: bool
    connected: bool = Field(description="Whether the provider's word is enough to sign in.")


class Location(Schema):
    location: str


class Link(Schema):
    link: str


class Invitation(Schema):
    id: int
    email: str | None
    role: Literal["ADMINISTRATOR", "USER"]
    application_id: int | None
    application: str | None
    invited_by: int | None
    created_at: Moment
    expires_at: Moment


class InvitationList(Schema):
    invitations: list[Invitation]


class MadeInvitation(Invitation):
    link: str = Field(description="Shown only now.")
    mailed: bool


class Invited(Schema):
    email: str | None
    role: Literal["ADMINISTRATOR", "USER"]
    application: str | None

"""Every failure that a caller may see, as one tree, which one handler turns into JSON answers.

    KnownfaceError                        500 / 41
    ├── InvalidRequest                    400 / 26   a value that was sent cannot be used
    │   ├── MissingApiKey                 400 / 20
    │   ├── UnreadableImage               400 / 21
    │   ├── EmptyField                    400 /  5   a field of a JSON body is missing or empty
    │   ├── MissingParameter              400 / 33
    │   ├── MissingPart                   400 / 34
    │   ├── NoFaceFound                   400 / 28
    │   ├── TooManyFaces                  400 / 31
    │   ├── SubjectExists                 400 / 43
    │   ├── NameTaken                     400 / 17   an application or service of that name exists
    │   ├── AlreadyMember                 400 / 19   of an application
    │   ├── UnusableName                  400 / 36   it has a character that is not allowed there
    │   ├── EmailTaken                    400 /  4
    │   ├── UnusableEmail                 400 / 22
    │   ├── WrongPassword                 400 / 18   the old one, where a new one is chosen
    │   ├── NotPossible                   400 /  9   what nobody may do, as deleting the owner
    │   └── LinkExpired                   400 / 30   a link of an invitation or for a new password
    ├── NotSignedIn                       401 /  0   no valid session or access token
    │   └── WrongCredentials              401 / 18
    ├── Forbidden                         403 /  1   also: a cookie without its CSRF token
    ├── NotFound                          404 /  0   also: an unknown path
    │   ├── ServiceNotFound               404 / 10
    │   ├── ApplicationNotFound           404 /  2
    │   ├── ApiKeyNotFound                404 /  0
    │   ├── SubjectNotFound               404 / 42
    │   ├── ExampleNotFound               404 / 44
    │   └── UserNotFound                  404 / 16
    ├── MethodNotAllowed                  405 /  0
    ├── ModelMismatch                     409 / 41   stored embeddings come from another model
    ├── WouldMerge                        409 / 43   renaming would join two subjects
    ├── PayloadTooLarge                   413 /  0
    ├── UnsupportedMediaType              415 /  0
    ├── TooManyAttempts                   429 /  0   of signing in (carries Retry-After)
    ├── Unavailable                       503 / 41   try again later
    │   ├── Overloaded                    503 /  0   every permit is taken (carries Retry-After)
    │   ├── DeadlineExceeded              503 / 41
    │   └── ModelUnavailable              503 / 41   weights absent, damaged or not loadable
    └── ConfigurationError                500 / 41   a setting or a file stops the start

Codes are CompreFace's numbers, which its clients test for; a message says what is wrong and what
to do next.
"""

from __future__ import annotations

from typing import ClassVar


class KnownfaceError(Exception):
    """The root: `message` is safe to show to a client, `code` and `status` go with it."""

    code: ClassVar[int] = 41
    status: ClassVar[int] = 500
    default: ClassVar[str] = "Something went wrong inside the server."

    def __init__(self, message: str | None = None) -> None:
        self.message = message or self.default
        super().__init__(self.message)


class InvalidRequest(KnownfaceError):
    """A value that was sent cannot be used; the message names it."""

    code = 26
    status = 400
    default = "The request is not valid."


class MissingApiKey(InvalidRequest):
    code = 20
    default = "Missing header: x-api-key"


class UnreadableImage(InvalidRequest):
    code = 21
    default = "The file is not a picture that can be read."


class EmptyField(InvalidRequest):
    """A field of a JSON body is missing, null or empty."""

    code = 5

    def __init__(self, field: str) -> None:
        super().__init__(f"Field {field} cannot be empty")


class MissingParameter(InvalidRequest):
    code = 33

    def __init__(self, name: str) -> None:
        super().__init__(f"Required parameter {name} is missing")


class MissingPart(InvalidRequest):
    code = 34

    def __init__(self, name: str) -> None:
        super().__init__(f"Required part {name} is missing")


class NoFaceFound(InvalidRequest):
    code = 28
    default = "No face is found in the given image"


class TooManyFaces(InvalidRequest):
    code = 31
    default = "More than one face in the source image"


class SubjectExists(InvalidRequest):
    code = 43
    default = "Subject already exists"


class NameTaken(InvalidRequest):
    """An application or service of that name exists already."""

    code = 17


class AlreadyMember(InvalidRequest):
    """Somebody belongs to an application already."""

    code = 19


class UnusableName(InvalidRequest):
    code = 36
    default = "The name cannot contain the following special characters: ';', '/', '\\'"


class EmailTaken(InvalidRequest):
    """Somebody has an account with this e-mail address."""

    code = 4
    default = "This e-mail address has an account already. Sign in, or choose another address."


class UnusableEmail(InvalidRequest):
    code = 22
    default = "The e-mail address is not one, such as jane@example.org."


class WrongPassword(InvalidRequest):
    code = 18
    default = "The old password is not right."


class NotPossible(InvalidRequest):
    """What nobody may do, whatever his role; the message says what to do instead."""

    code = 9


class LinkExpired(InvalidRequest):
    """A link that was sent to somebody was used, taken back, or its time is over."""

    code = 30
    default = "This link has been used or has expired. Ask for a new one."


class NotSignedIn(KnownfaceError):
    """Nobody is known to be behind the request."""

    code = 0
    status = 401
    default = "Sign in first, or send an access token as Authorization: Bearer TOKEN."


class WrongCredentials(NotSignedIn):
    code = 18
    default = "E-mail address or password are not right."


class Forbidden(KnownfaceError):
    """Whoever asks is known, and may see the thing, but not do this with it."""

    code = 1
    status = 403
    default = "Your role does not allow this. Ask an owner or administrator."


class NotFound(KnownfaceError):
    code = 0
    status = 404
    default = "There is nothing at this address."


class ServiceNotFound(NotFound):
    code = 10


class ApplicationNotFound(NotFound):
    code = 2


class ApiKeyNotFound(NotFound):
    """A service has no key of that number or name."""


class SubjectNotFound(NotFound):
    code = 42

    def __init__(self, name: str) -> None:
        super().__init__(f"Subject {name} not found")


class ExampleNotFound(NotFound):
    code = 44


class UserNotFound(NotFound):
    code = 16
    default = "There is no such user."


class MethodNotAllowed(KnownfaceError):
    code = 0
    status = 405


class ModelMismatch(KnownfaceError):
    """Embeddings of two models cannot be compared; the message names both."""

    status = 409


class WouldMerge(KnownfaceError):
    """The new name of a subject is another's; joining them has to be asked for."""

    code = 43
    status = 409

    def __init__(self, renamed: str, moving: int, other: str, there: int) -> None:
        super().__init__(
            f"There is a subject {other} already, with {_counted(there)}. Send merge=true to move "
            f"{_counted(moving)} of {renamed} to it, which cannot be undone."
        )


class PayloadTooLarge(KnownfaceError):
    """The body or one file of it is larger than a limit, which the message names."""

    code = 0
    status = 413


class UnsupportedMediaType(KnownfaceError):
    code = 0
    status = 415


class TooManyAttempts(KnownfaceError):
    """Somebody guesses passwords, or looks as if; `retry_after` seconds are to be waited."""

    code = 0
    status = 429

    def __init__(self, retry_after: int) -> None:
        super().__init__(
            f"Too many failed attempts. Try again in {retry_after} seconds, or reset the password."
        )
        self.retry_after = retry_after


class Unavailable(KnownfaceError):
    """The request was fine but cannot be served now; trying again later may help."""

    status = 503
    retry_after: ClassVar[int] = 1


class Overloaded(Unavailable):
    code = 0
    default = "The server is busy: too many requests at once. Try again in a moment."


class DeadlineExceeded(Unavailable):
    default = "The request waited too long for its turn and was given up. Try again in a moment."


class ModelUnavailable(Unavailable):
    """A model's weights are absent or damaged, or its runtime failed to load them."""


class ConfigurationError(KnownfaceError):
    """A setting, a file or the database stops the program; the message is one clear line."""


def _counted(examples: int) -> str:
    return "1 example" if examples == 1 else f"{examples} examples"

"""Every setting of the program, in one frozen object that only `app` and `cli` read.

A value comes from a flag, else the environment, else a `.env` file in the working directory, else
the default. The description of a field is what the help text and the documentation say about it.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from knownface.errors import ConfigurationError
from knownface.setting_values import (
    Budget,
    ByteCount,
    Networks,
    Origins,
    Port,
    SmtpUrl,
    WebAddress,
    lower,
)

PREFIX: Final = "KNOWNFACE_"
DOTENV: Final = Path(".env")

_NOT_SETTINGS: Final = re.compile(
    r"KNOWNFACE_(TEST_.*|EVAL_DATA"  # the test-suite's own
    # What Kubernetes and Docker add to every container beside a service called "knownface".
    r"|SERVICE_HOST|SERVICE_PORT(_.*)?|PORT_\d+_.*)"
)


def _secret(description: str) -> str:
    """Return a setting whose value is never shown."""
    secret: str = Field("", description=description, repr=False, json_schema_extra={"secret": True})
    return secret


class Settings(BaseSettings):
    """The settings of one process; `load` makes them and says in one line what is wrong."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    data: Path = Field(
        Path("knownface-data"),
        description="Folder for all that is kept: the database and the models. Made when absent.",
    )
    host: str = Field(
        "0.0.0.0",  # noqa: S104 - a server in a container must be reachable; 127.0.0.1 is one flag away
        description="Address to listen on; 127.0.0.1 keeps the server to this machine.",
        min_length=1,
    )
    port: Port = Field(8000, description="Port to listen on; 0 takes a free one.", ge=0, le=65535)
    database_url: str = Field(
        default_factory=lambda chosen: f"sqlite:///{chosen['data'] / 'knownface.db'}",
        description="Database: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME.",
        json_schema_extra={"default": "DATA/knownface.db", "secret": True},
        repr=False,
        min_length=1,
    )
    save_images_to_db: bool = Field(
        True,
        description="Keep the photographs that examples are made from, not only their embeddings.",
        json_schema_extra={"also": ["SAVE_IMAGES_TO_DB"]},
    )
    max_file_size: ByteCount = Field(
        5 << 20,
        description="Largest picture, however it is sent.",
        json_schema_extra={"also": ["MAX_FILE_SIZE"], "default": "5MB"},
    )
    max_request_size: ByteCount = Field(
        10 << 20,
        description="Largest request body.",
        json_schema_extra={"also": ["MAX_REQUEST_SIZE"], "default": "10MB"},
    )
    max_detect_size: int = Field(
        640,
        description="Longer side, in pixels, to which a picture is shrunk to find its faces; "
        "more finds smaller faces and takes longer, 0 never shrinks.",
        json_schema_extra={"also": ["MAX_DETECT_SIZE", "IMG_LENGTH_LIMIT"]},
        ge=0,
    )
    max_image_pixels: int = Field(
        64_000_000,
        description="Largest picture in pixels, width times height.",
        gt=0,
    )
    det_prob_threshold: float = Field(
        0.8,
        description="Least probability that a face is one, where a request names none.",
        ge=0,
        le=1,
    )
    max_requests: int = Field(
        64, description="Requests served at one time; more are answered 503 with Retry-After.", gt=0
    )
    request_timeout: float = Field(
        60.0,
        description="Seconds after which a request still waiting for its turn is given up.",
        gt=0,
        allow_inf_nan=False,
    )
    workers: int = Field(
        1,
        description="Processes that serve on one port; slots, max_requests and index_memory are "
        "divided among them.",
        ge=1,
        le=64,
    )
    slots: int = Field(0, description="Networks run at one time; 0 means one a core.", ge=0)
    threads: int = Field(
        0,
        description="Threads of a network's run while no other goes on; 0 takes more than one "
        "where that was measured to pay, after the first start.",
        ge=0,
    )
    runtime: Annotated[Literal["auto", "openvino", "onnxruntime"], BeforeValidator(lower)] = Field(
        "auto",
        description="What runs the models; auto takes OpenVINO where it is the faster one.",
    )
    models_dir: Path = Field(
        default_factory=lambda chosen: chosen["data"] / "models",
        description="Folder of the models.",
        json_schema_extra={"default": "DATA/models"},
    )
    detector: str = Field("yunet", description="Model that finds faces, or its pack.", min_length=1)
    embedder: str = Field(
        "sface", description="Model that tells faces apart, or its pack.", min_length=1
    )
    age_model: str = Field(
        "dlib-age", description="Model of the plugin age, or its pack.", min_length=1
    )
    gender_model: str = Field(
        "dlib-gender", description="Model of the plugin gender, or its pack.", min_length=1
    )
    mask_model: str = Field("mask", description="Model of the plugin mask.", min_length=1)
    landmarks2d106_model: str = Field(
        "mesh", description="Model of the plugin landmarks2d106, or its pack.", min_length=1
    )
    index: str = Field(
        "exact",
        description="How stored faces are searched: exact compares with every one, hnsw not.",
        min_length=1,
    )
    index_memory: Budget = Field(
        0,
        description="Memory for the indexes of all services, such as 2GB; beyond it those that "
        "were not searched the longest are given back. 0 sets no limit.",
    )
    cors_origins: Origins = Field(
        "*",
        description="Web pages that may call the API: origins with commas between, or *.",
    )
    public_url: WebAddress = Field(
        "",
        description="Address at which people reach the server, such as https://faces.example: what "
        "the links in mails begin with.",
    )
    trusted_proxies: Networks = Field(
        "",
        description="Proxies in front of the server, whose X-Forwarded-For and X-Forwarded-Proto "
        "are believed: addresses or networks with commas between.",
    )
    registration: Annotated[Literal["invited", "open", "closed"], BeforeValidator(lower)] = Field(
        "invited",
        description="Who may sign up, once the server has its owner: the invited, everybody, or "
        "nobody, so that only `knownface user create` makes accounts.",
    )
    smtp_url: SmtpUrl = Field(
        "",
        description="Mail server: smtp://USER:PASSWORD@HOST:PORT, or smtps:// for TLS from the "
        "first byte. Without it nothing is mailed, and links are handed on by hand.",
        repr=False,
        json_schema_extra={"secret": True},
    )
    mail_from: str = Field("", description="Sender of the mails, such as faces@example.org.")
    oidc_issuer: WebAddress = Field(
        "", description="OpenID Connect provider to sign in with, by the address of its issuer."
    )
    oidc_client_id: str = Field("", description="What the provider knows this server as.")
    oidc_client_secret: str = _secret("What this server proves itself with to the provider.")
    oidc_name: str = Field(
        "OpenID Connect", description="The provider's name on the page.", min_length=1
    )
    bootstrap_owner_email: str = Field(
        "", description="On the first start, make an owner with this e-mail address."
    )
    bootstrap_owner_password: str = _secret("The password of that owner.")
    bootstrap_application: str = Field(
        "default",
        description="Application that the first start makes services in.",
        min_length=1,
    )
    bootstrap_recognition_key: str = _secret(
        "On the first start, make a recognition service with this API key, a UUID."
    )
    bootstrap_detection_key: str = _secret("The same for a detection service.")
    bootstrap_verification_key: str = _secret("The same for a verification service.")
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(lower)
    ] = Field("info", description="Least severity that is logged.")
    log_format: Annotated[Literal["json", "text"], BeforeValidator(lower)] = Field(
        "json", description="One JSON object a line, or text for people."
    )
    offline: bool = Field(False, description="Never fetch models; what is missing stops the start.")

    @property
    def plugin_models(self) -> dict[str, str]:
        """The model chosen for each plugin that has a choice, by slug."""
        return {
            "age": self.age_model,
            "gender": self.gender_model,
            "mask": self.mask_model,
            "landmarks2d106": self.landmarks2d106_model,
        }

    @field_validator("data", "models_dir")
    @classmethod
    def _home(cls, value: Path) -> Path:
        """Expand `~`, which only a shell would."""
        return value.expanduser()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read names our own way: an alias in one source must still yield to a stronger source."""
        del env_settings, dotenv_settings, file_secret_settings
        environment = _Named(settings_cls, os.environ)
        return init_settings, environment, _Named(settings_cls, _read(DOTENV))


class _Named(PydanticBaseSettingsSource):
    """The settings found among named texts: the environment, or a `.env` file."""

    def __init__(self, settings_cls: type[BaseSettings], texts: Mapping[str, str | None]) -> None:
        super().__init__(settings_cls)
        self._texts = texts

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        name = _holder(_described(field_name, field), self._texts)
        return (self._texts[name] if name else None), field_name, False

    def __call__(self) -> dict[str, object]:
        found = {s.name: _holder(s, self._texts) for s in catalogue()}
        return {field: self._texts[name] for field, name in found.items() if name}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as the help text and the documentation show it."""

    name: str
    variable: str
    also: tuple[str, ...]
    flag: str
    default: str
    description: str
    values: str
    boolean: bool
    secret: bool


def catalogue() -> list[Setting]:
    """Return every setting in the order it is documented."""
    return [_described(name, field) for name, field in Settings.model_fields.items()]


def load(flags: Mapping[str, object] | None = None) -> Settings:
    """Read the settings; `flags` are the command line's, by field name, None where not given.

    Raises ConfigurationError with one line that names each setting that is unknown or malformed,
    and the place where it was set.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    in_file = _read(DOTENV)
    _refuse_unknown(os.environ, "the environment")
    _refuse_unknown(in_file, str(DOTENV))
    try:
        return Settings(**given)  # type: ignore[arg-type]  # pydantic checks every value
    except ValidationError as error:
        settings = {setting.name: setting for setting in catalogue()}
        problems = [
            f"{_origin(settings[str(problem['loc'][0])], given, in_file)} {_reason(problem['msg'])}"
            for problem in error.errors(include_url=False, include_context=False)
            if problem["type"] != "default_factory_not_called"
        ]
        raise ConfigurationError(f"{'; '.join(problems)}.") from None


def _read(dotenv: Path) -> dict[str, str | None]:
    """Return what a `.env` file holds, {} when there is none; ConfigurationError if unreadable."""
    if not dotenv.is_file():
        return {}
    try:
        with dotenv.open(encoding="utf-8") as lines:
            bad = [binding.original.line for binding in parse_stream(lines) if binding.error]
        if bad:
            raise ConfigurationError(f"Cannot read {dotenv}: line {bad[0]} is not NAME=VALUE.")
        return dotenv_values(dotenv)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"Cannot read {dotenv}: {error}.") from None


def _refuse_unknown(names: Mapping[str, str | None], where: str) -> None:
    known = {setting.variable for setting in catalogue()}
    for name in names:
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper in known or _NOT_SETTINGS.fullmatch(upper):
            continue
        # The prefix that all share would make any two names look alike.
        near = difflib.get_close_matches(
            upper.removeprefix(PREFIX), [one.removeprefix(PREFIX) for one in known], n=1
        )
        hint = f"Did you mean {PREFIX}{near[0]}?" if near else "See `knownface serve --help`."
        raise ConfigurationError(f"Unknown setting {name} in {where}. {hint}")


def _holder(setting: Setting, texts: Mapping[str, str | None]) -> str | None:
    """Return the name that a setting has there, ignoring case; our own name goes first."""
    for wanted in (setting.variable, *setting.also):
        for name, text in texts.items():
            if name.upper() == wanted and text:
                return name
    return None


def _origin(
    setting: Setting, given: Mapping[str, object], in_file: Mapping[str, str | None]
) -> str:
    """Name the place a value came from, as its writer would find it; the value unless secret."""
    place, value = setting.flag, given.get(setting.name)
    if setting.name not in given:
        sources = {"the environment": os.environ, str(DOTENV): in_file}
        for where, texts in sources.items():
            if name := _holder(setting, texts):
                place, value = f"{name} in {where}", texts[name]
                break
    return f"{place}:" if setting.secret else f"{place} is {str(value)!r}:"


def _reason(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    return message.split(", unable to", 1)[0]


def _described(name: str, field: FieldInfo) -> Setting:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    also = extra.get("also")
    default = str(extra.get("default", field.default)) or "none"
    return Setting(
        name=name,
        variable=f"{PREFIX}{name.upper()}",
        also=tuple(str(other) for other in also) if isinstance(also, list) else (),
        flag=f"--{name.replace('_', '-')}",
        default=default.lower() if field.annotation is bool else default,
        description=field.description or "",
        values=", ".join(getattr(field.annotation, "__args__", ())),
        boolean=field.annotation is bool,
        secret=bool(extra.get("secret")),
    )

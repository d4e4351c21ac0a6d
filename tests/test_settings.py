"""Settings: where values come from, what is understood, and how a mistake is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from knownface.errors import ConfigurationError
from knownface.settings import Settings, catalogue, load


@pytest.fixture(autouse=True)
def _nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start from an empty folder and an environment without a setting in it."""
    spoken_for = {name for s in catalogue() for name in (s.variable, *s.also)}
    for name in list(os.environ):
        if name.upper() in spoken_for:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def dotenv(text: str) -> None:
    Path(".env").write_text(text, "utf-8")


def refusal() -> str:
    """Return the one line with which the settings are refused."""
    with pytest.raises(ConfigurationError) as refused:
        load()
    assert "\n" not in refused.value.message
    return refused.value.message


def test_defaults_are_those_of_compreface() -> None:
    settings = load()
    assert settings.port == 8000
    assert settings.save_images_to_db is True
    assert settings.max_file_size == 5 * 1024 * 1024
    assert settings.max_request_size == 10 * 1024 * 1024
    assert settings.max_detect_size == 640
    assert settings.det_prob_threshold == 0.8


def test_database_and_models_follow_the_data_folder(tmp_path: Path) -> None:
    settings = load({"data": tmp_path})
    assert settings.database_url == f"sqlite:///{tmp_path}/knownface.db"
    assert settings.models_dir == tmp_path / "models"


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dotenv("KNOWNFACE_PORT=1\n")
    assert load().port == 1
    monkeypatch.setenv("KNOWNFACE_PORT", "2")
    assert load().port == 2
    assert load({"port": "3"}).port == 3
    assert load({"port": None}).port == 2


def test_comprefaces_name_in_the_environment_beats_our_name_in_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dotenv("KNOWNFACE_MAX_FILE_SIZE=2MB\n")
    monkeypatch.setenv("MAX_FILE_SIZE", "3MB")
    assert load().max_file_size == 3 << 20
    monkeypatch.setenv("KNOWNFACE_MAX_FILE_SIZE", "4MB")
    assert load().max_file_size == 4 << 20
    assert load({"max_file_size": "1MB"}).max_file_size == 1 << 20


def test_a_compreface_env_file_is_understood_as_it_is() -> None:
    dotenv(
        "registry=exadel/\n"
        "postgres_username=postgres\n"
        "postgres_password=postgres\n"
        "postgres_domain=compreface-postgres-db\n"
        "email_host=smtp.gmail.com\n"
        "enable_email_server=false\n"
        "save_images_to_db=false\n"
        "compreface_api_java_options=-Xmx4g\n"
        "API_VERSION=1.2.0\n"
        "max_file_size=7MB\n"
        "max_request_size=12M\n"
        "max_detect_size=1024\n"
        "uwsgi_processes=2\n"
    )
    settings = load()
    assert settings.save_images_to_db is False
    assert settings.max_file_size == 7 << 20
    assert settings.max_request_size == 12 << 20
    assert settings.max_detect_size == 1024


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("SAVE_IMAGES_TO_DB", "FALSE", "save_images_to_db", False),
        ("IMG_LENGTH_LIMIT", "320", "max_detect_size", 320),
        ("MAX_REQUEST_SIZE", "20MB", "max_request_size", 20 << 20),
        ("knownface_log_level", "DEBUG", "log_level", "debug"),
        ("KNOWNFACE_OFFLINE", "1", "offline", True),
        ("KNOWNFACE_DATA", "~/faces", "data", Path.home() / "faces"),
    ],
)
def test_names_and_values_ignore_case(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str, expected: object
) -> None:
    monkeypatch.setenv(name, value)
    assert getattr(load(), field) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5MB", 5_242_880),
        ("10M", 10_485_760),
        ("5242880", 5_242_880),
        (" 5 MiB ", 5_242_880),
        ("1.5 kb", 1536),
        ("1G", 1 << 30),
        ("512B", 512),
    ],
)
def test_sizes_are_written_as_in_compreface(text: str, expected: int) -> None:
    assert load({"max_file_size": text}).max_file_size == expected


@given(st.text(max_size=12))
def test_any_text_for_a_size_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        size = load({"max_file_size": text}).max_file_size
    except ConfigurationError as error:
        refused = error.message
    else:
        refused = ""
        assert size > 0
    assert refused == "" or refused.startswith("--max-file-size is ")
    assert len(refused.splitlines()) <= 1


def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNOWNFACE_PORT", "")
    monkeypatch.setenv("KNOWNFACE_DATABASE_URL", "")
    settings = load()
    assert settings.port == 8000
    assert settings.database_url.startswith("sqlite:///")


def test_an_unknown_setting_is_refused_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KNOWNFACE_PROT", "9000")
    assert refusal() == (
        "Unknown setting KNOWNFACE_PROT in the environment. Did you mean KNOWNFACE_PORT?"
    )


def test_an_unknown_setting_in_the_file_is_refused_too() -> None:
    dotenv("KNOWNFACE_ZZZ=1\n")
    assert refusal() == "Unknown setting KNOWNFACE_ZZZ in .env. See `knownface serve --help`."


@pytest.mark.parametrize(
    "name",
    [
        "KNOWNFACE_TEST_MODELS",
        "KNOWNFACE_EVAL_DATA",
        "KNOWNFACE_SERVICE_HOST",
        "KNOWNFACE_SERVICE_PORT",
        "KNOWNFACE_SERVICE_PORT_HTTP",
        "KNOWNFACE_PORT_8000_TCP",
        "KNOWNFACE_PORT_8000_TCP_ADDR",
    ],
)
def test_names_of_the_tests_and_of_kubernetes_are_let_pass(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "10.0.0.1")
    assert load() == Settings()


def test_the_port_that_kubernetes_sets_is_not_taken_for_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KNOWNFACE_PORT", "tcp://10.0.0.1:8000")
    assert load().port == 8000


def test_every_malformed_value_is_named_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    dotenv("save_images_to_db=maybe\n")
    monkeypatch.setenv("KNOWNFACE_PORT", "eight")
    with pytest.raises(ConfigurationError) as refused:
        load({"slots": "-1"})
    assert refused.value.message == (
        "KNOWNFACE_PORT in the environment is 'eight': should be a valid integer; "
        "save_images_to_db in .env is 'maybe': should be a valid boolean; "
        "--slots is '-1': should be greater than or equal to 0."
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KNOWNFACE_PORT", "65536"),
        ("KNOWNFACE_PORT", "80.5"),
        ("KNOWNFACE_MAX_FILE_SIZE", "0"),
        ("KNOWNFACE_MAX_FILE_SIZE", "five"),
        ("KNOWNFACE_MAX_DETECT_SIZE", "-1"),
        ("KNOWNFACE_DET_PROB_THRESHOLD", "1.5"),
        ("KNOWNFACE_DET_PROB_THRESHOLD", "nan"),
        ("KNOWNFACE_REQUEST_TIMEOUT", "0"),
        ("KNOWNFACE_REQUEST_TIMEOUT", "inf"),
        ("KNOWNFACE_MAX_REQUESTS", "0"),
        ("KNOWNFACE_LOG_LEVEL", "loud"),
        ("KNOWNFACE_LOG_FORMAT", "xml"),
    ],
)
def test_values_out_of_range_are_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert refusal().startswith(f"{variable} in the environment is '{value}': should ")


def test_a_password_in_the_database_url_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNOWNFACE_DATABASE_URL", "postgresql://me:hunter2@db/faces")
    assert "hunter2" not in repr(load())
    assert "hunter2" not in str(load())
    monkeypatch.setenv("KNOWNFACE_PORT", "eight")
    assert "hunter2" not in refusal()


def test_a_broken_env_file_is_told_with_its_line() -> None:
    dotenv("KNOWNFACE_PORT=1\nKNOWNFACE SLOTS=2\n")
    assert refusal() == "Cannot read .env: line 2 is not NAME=VALUE."
    Path(".env").write_bytes(b"KNOWNFACE_PORT=\xff\n")
    assert refusal().startswith("Cannot read .env: ")


def test_a_folder_called_env_is_no_env_file() -> None:
    Path(".env").mkdir()
    assert load().port == 8000


def test_settings_cannot_be_changed() -> None:
    settings = load()
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]  # that it is an error is what is tested


def test_no_secret_is_shown_right_or_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNOWNFACE_SMTP_URL", "http://me:hunter2@mail.example.org")
    assert "hunter2" not in refusal()
    secrets = [one for one in catalogue() if one.secret]
    assert len(secrets) >= 6
    for one in secrets:
        monkeypatch.setenv(one.variable, f"smtp://hunter2:{one.name}@host")
    assert "hunter2" not in repr(load())


def test_every_setting_says_what_it_is_for() -> None:
    for setting in catalogue():
        assert setting.description.endswith("."), setting.name
        assert setting.default, setting.name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KNOWNFACE_CORS_ORIGINS", "garbage here"),
        ("KNOWNFACE_CORS_ORIGINS", "https://a.example,b"),
        ("KNOWNFACE_MAX_FILE_SIZE", "9" * 400),
        ("KNOWNFACE_MAX_FILE_SIZE", "2TB"),
        ("KNOWNFACE_PUBLIC_URL", "faces.example"),
        ("KNOWNFACE_PUBLIC_URL", "https://faces.example/?a=b"),
        ("KNOWNFACE_TRUSTED_PROXIES", "10.0.0.1, proxy"),
        ("KNOWNFACE_SMTP_URL", "mail.example.org"),
        ("KNOWNFACE_SMTP_URL", "smtp://mail.example.org:port"),
        ("KNOWNFACE_REGISTRATION", "anybody"),
    ],
)
def test_values_of_the_right_type_that_make_no_sense_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name):
        load()


@pytest.mark.parametrize("value", ["*", "null", "https://a.example", "http://a:81, https://b/"])
def test_origins_are_accepted_as_browsers_send_them(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("KNOWNFACE_CORS_ORIGINS", value)
    assert load().cors_origins == value

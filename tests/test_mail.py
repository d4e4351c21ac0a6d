"""Mail to servers that encrypt, and to those that do not: real ones, with a certificate of ours."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from knownface.mail import Mailer
from mail_server import Mailbox

USER, PASSWORD = "post", "p@ss/word"
LOGIN = "post:p%40ss%2Fword@"
SENDER = "Knownface <faces@example.org>"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a key and a certificate for 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    host = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@contextmanager
def mail_server(**options: Any) -> Iterator[Mailbox]:
    """Run a server that asks for USER and PASSWORD where it asks for any."""

    def admit(_server: object, _session: object, _envelope: object, _how: str, data: object) -> Any:
        right = LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=data == right)

    with socket.create_server(("127.0.0.1", 0)) as free:
        box = Mailbox(port=free.getsockname()[1])
    controller = Controller(
        box, hostname="127.0.0.1", port=box.port, authenticator=admit, **options
    )
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


def encrypted(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def send(url: str) -> None:
    """Try to send one mail, once."""
    with closing(Mailer(url, SENDER)) as mailer:
        mailer.post("anna@example.org", "Hello", "A text.")


def test_a_password_is_sent_once_the_conversation_is_encrypted(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with mail_server(tls_context=encrypted(certificate), auth_required=True) as box:
        send(f"smtp://{LOGIN}127.0.0.1:{box.port}")
    assert box.mails == [("anna@example.org", "A text.\r\n")]


def test_a_server_that_is_encrypted_from_the_start_takes_mail(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    options = {"auth_require_tls": False}  # it cannot tell that it is
    with mail_server(ssl_context=encrypted(certificate), **options) as box:
        send(f"smtps://{LOGIN}127.0.0.1:{box.port}")
    assert box.mails == [("anna@example.org", "A text.\r\n")]


def test_a_certificate_of_a_stranger_is_not_accepted(
    certificate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with mail_server(tls_context=encrypted(certificate), auth_required=True) as box:
        send(f"smtp://{LOGIN}127.0.0.1:{box.port}")
    assert not box.mails
    assert "SSLCertVerificationError" in {getattr(one, "reason", "") for one in caplog.records}


def test_no_password_is_sent_in_the_clear(caplog: pytest.LogCaptureFixture) -> None:
    with mail_server(auth_require_tls=False) as box:
        send(f"smtp://{LOGIN}127.0.0.1:{box.port}")
    assert not box.mails
    assert "SMTPNotSupportedError" in {getattr(one, "reason", "") for one in caplog.records}

"""A real SMTP server on this machine: TLS after STARTTLS, a password, and the mails that came."""

from __future__ import annotations

import base64
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class MailServer:
    """
    What came: each mail, whether it came over TLS, and who had logged in.

    Args:
        certificate: the server's certificate, which a client has to trust.
        offers_tls: whether it offers STARTTLS.
    """

    certificate: Path
    offers_tls: bool = True
    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    secure: list[bool] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[MailServer]:
        """Serve while the block runs."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port = listening.getsockname()[1]
            threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
            yield self

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with ExitStack() as opened, suppress(OSError, ValueError):
            self._talk(opened.enter_context(connection), opened)

    def _talk(self, connection: socket.socket, opened: ExitStack) -> None:
        def say(line: str) -> None:
            connection.sendall(line.encode() + b"\r\n")

        lines, secure = opened.enter_context(connection.makefile("rb")), False
        say("220 ready")
        while raw := lines.readline():
            word, _, rest = raw.decode().strip().partition(" ")
            if word.upper() == "EHLO":
                offers = ["AUTH PLAIN"] if secure else ["STARTTLS"] if self.offers_tls else []
                for at, offer in enumerate(["here", *offers]):
                    say(f"250{' ' if at == len(offers) else '-'}{offer}")
            elif word.upper() == "STARTTLS":
                say("220 go on")
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(self.certificate)
                connection = opened.enter_context(context.wrap_socket(connection, server_side=True))
                lines, secure = opened.enter_context(connection.makefile("rb")), True
            elif word.upper() == "AUTH":
                self.logins.append(
                    base64.b64decode(rest.partition(" ")[2]).decode().replace("\0", " ").strip()
                )
                say("235 welcome")
            elif word.upper() == "DATA":
                say("354 go on")
                body = b"".join(iter(lines.readline, b".\r\n"))
                self.mails.append(message_from_bytes(body, policy=default))  # type: ignore[arg-type]
                self.secure.append(secure)
                say("250 taken")
            elif word.upper() == "QUIT":
                return say("221 bye")
            else:
                say("250 ok")


def own_certificate(path: Path) -> Path:
    """Write a certificate for 127.0.0.1 that signs itself, with its key, into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    at = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(hours=1))
        .not_valid_after(at + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path

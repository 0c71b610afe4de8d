"""TLS of the service: its certificate and key, and the authority of its clients, from files that may be renewed."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from polserve.serving.errors import ConfigurationError
from polserve.serving.reloading import Reloaded, read_file

if TYPE_CHECKING:
    from cryptography import x509

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Ciphers of TLS 1.2: those that HTTP/2 allows (RFC 9113, appendix A, forbids the others)."""
HANDSHAKE_S = 10.0
"""Time that a client has for the handshake of TLS."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of TLS, in PEM."""

    certificate: Path
    """The service's certificate, and those of the authorities between it and the root."""
    key: Path
    client_ca: Path | None = None
    """Authorities whose certificates clients must show; None where clients need none."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of the files."""
        return (self.certificate, self.key) if self.client_ca is None else (self.certificate, self.key, self.client_ca)


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the files of TLS said when they were read."""

    files: TlsFiles
    chain: bytes
    key: bytes
    client_ca: bytes | None
    context: ssl.SSLContext
    """TLS for connections of gRPC; where there is a client CA, clients must show a certificate."""
    pages: ssl.SSLContext
    """TLS for connections of HTTP; a client may show a certificate, and probes need none."""
    expires_at: float
    """When the service's certificate expires, Unix time."""


def watched_certificates(files: TlsFiles) -> Reloaded[Certificates]:
    """Read the files of TLS, to be read again when they change.

    Raises:
        ConfigurationError: they cannot be used.
    """
    return Reloaded("certificates", files.paths, lambda: read_certificates(files))


def read_certificates(files: TlsFiles) -> Certificates:
    """Read the files of TLS.

    Raises:
        ConfigurationError: one cannot be read, the certificate is not valid now, or the key is another's.
    """
    chain = read_file("tls-cert", files.certificate)
    key = read_file("tls-key", files.key)
    expires_at = _check_validity(files.certificate, chain)
    client_ca = None
    if files.client_ca is not None:
        client_ca = read_file("tls-client-ca", files.client_ca)
        _parsed("tls-client-ca", files.client_ca, client_ca)
    context = make_context(files, ["h2"], ssl.CERT_REQUIRED)
    pages = make_context(files, ["http/1.1"], ssl.CERT_OPTIONAL)
    return Certificates(files, chain, key, client_ca, context, pages, expires_at)


def lasting_context(certificates: Reloaded[Certificates]) -> ssl.SSLContext:
    """Return TLS for a server of HTTP that takes one context for ever; each connection gets the latest certificate."""
    context = make_context(certificates.value.files, ["http/1.1"], ssl.CERT_OPTIONAL)

    def renew(connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = certificates.value.pages

    context.sni_callback = renew
    return context


def make_context(files: TlsFiles, protocols: Sequence[str], verification: ssl.VerifyMode) -> ssl.SSLContext:
    """Make the service's end of TLS.

    Args:
        files: whose contents are certificates.
        protocols: what may be spoken (ALPN).
        verification: whether clients must show a certificate, where there is an authority for them.

    Raises:
        ConfigurationError: the key is not the certificate's, or is encrypted.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(list(protocols))
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except ssl.SSLError as error:
        expected = f"the key of the certificate in {files.certificate}, in PEM"
        got = "that of another" if error.reason == "KEY_VALUES_MISMATCH" else "something else"
        raise ConfigurationError(f"tls-key: expected {expected}, got {got} in {files.key}") from error
    if files.client_ca is not None:
        context.load_verify_locations(files.client_ca)
        context.verify_mode = verification
        # NOTE: who resumes a session is not verified again: a client whose certificate has expired, or whose authority
        # was withdrawn, would be let in for hours. (Python cannot switch off the sessions that TLS 1.2 keeps.)
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context


def _check_validity(path: Path, chain: bytes) -> float:
    """Return when a certificate expires, Unix time; raises ConfigurationError where clients would refuse it now."""
    leaf = _parsed("tls-cert", path, chain)[0]
    now = datetime.now(UTC)
    problem = ""
    if leaf.not_valid_after_utc < now:
        problem = f"one that expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    elif leaf.not_valid_before_utc > now:
        problem = f"one that is valid from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on"
    if problem:
        raise ConfigurationError(f"tls-cert: expected a certificate that is valid now, got {problem} in {path}")
    return leaf.not_valid_after_utc.timestamp()


def _parsed(setting: str, path: Path, contents: bytes) -> "list[x509.Certificate]":
    """Read certificates; raises ConfigurationError where there is none, or one is cut off."""
    from cryptography import x509  # which a service without TLS does not pay for

    try:
        return x509.load_pem_x509_certificates(contents)
    except ValueError as error:
        raise ConfigurationError(f"{setting}: expected certificates in PEM, got something else in {path}") from error


def _no_password() -> str:
    """Refuse an encrypted key, instead of asking for its password on the terminal."""
    raise ConfigurationError("tls-key: expected a key without a password, got an encrypted one; decrypt it")

"""The settings of `polserve serve` that say how it is reached, and by whom."""

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic_settings import BaseSettings, SettingsConfigDict

from polserve.serving.setting_forms import Shown
from polserve.serving.tls import TlsFiles

FilePath = Annotated[Path | None, Shown(default="none", expected="a file")]


class SecuritySettings(BaseSettings):
    """Settings of transport and access."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    grpc_socket: Annotated[Path | None, Shown(default="none", expected="a path for a socket")] = None
    """UNIX socket to answer gRPC on too, for clients of this machine that the file's mode (0660) lets in."""
    tls_cert: FilePath = None
    """File with the service's certificate and those of its authorities, in PEM; with it, gRPC is encrypted."""
    tls_key: FilePath = None
    """File with the key of the certificate, in PEM and without a password."""
    tls_client_ca: FilePath = None
    """File with the authorities whose certificates clients must show, in PEM (mutual TLS)."""
    insecure: bool = False
    """Take calls from other machines without TLS, where something else keeps strangers out."""

    @property
    def tls_files(self) -> TlsFiles | None:
        """The files of TLS; None where calls are not encrypted."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        return TlsFiles(self.tls_cert, self.tls_key, self.tls_client_ca)


def is_of_this_machine(host: str) -> bool:
    """Return whether only programs of this machine reach what is bound to the host."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")

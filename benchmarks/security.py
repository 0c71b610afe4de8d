"""What TLS and tokens cost: Act over kept connections, beside an empty plaintext echo of `grpc.server`.

All sides take turns in this run; CPU of the server for a call.
"""

import contextlib
import datetime as dt
import ipaddress
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from jwt.algorithms import ECAlgorithm

from benchmarks.act import CARTPOLE, EIGHT, Report, take_turns
from benchmarks.load import Server, polserve, require_h2load, rival
from benchmarks.tables import finish, options, show
from polserve.serving.access.access_file import add_token

ISSUER, AUDIENCE = "https://issuer.example", "polserve"


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate that signs itself, and its key; return their paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return paths


def write_web_token(folder: Path) -> tuple[Path, str]:
    """Write the keys of an issuer; return their path, and a token that is signed by one."""
    key = ec.generate_private_key(ec.SECP256R1())
    keys = folder / "keys.json"
    keys.write_text(json.dumps({"keys": [{**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "1"}]}))
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "benchmark", "exp": time.time() + 86_400, "role": "act"}
    return keys, jwt.encode(claims, key, "ES256", {"kid": "1"})


@contextlib.contextmanager
def servers() -> Iterator[dict[str, Server]]:
    """Run the service with ever more security, and the echo that all are compared with."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        certificate, key = write_certificate(folder)
        tls = ("--tls-cert", str(certificate), "--tls-key", str(key))
        access = folder / "access.toml"
        token = add_token(access, "benchmark", "act", [], None)
        keys, web_token = write_web_token(folder)
        web = ("--jwt-keys", str(keys), "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE)
        sides = {
            "plain": ((), ""),
            "tls": (tls, ""),
            "token": ((*tls, "--access", str(access)), token),
            "jwt": ((*tls, *web), web_token),
        }
        started = {
            side: stack.enter_context(polserve("--policy", "cartpole", *given, bearer=bearer))
            for side, (given, bearer) in sides.items()
        }
        yield {**started, "echo": stack.enter_context(rival("echo-threads"))}


def main() -> None:
    """Compare them."""
    parser = options(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side, of which the median is taken")
    arguments = parser.parse_args()
    rounds, calls = (1, 4_000) if arguments.quick else (arguments.rounds, 20_000)
    require_h2load()
    report = Report()
    with servers() as sides:
        measured = dict(
            zip(sides, take_turns([(side, CARTPOLE, EIGHT, calls) for side in sides.values()], rounds), strict=True)
        )
    titles = {"plain": "without TLS", "tls": "with TLS", "token": "with TLS and a token", "jwt": "with TLS and a JWT"}
    for side, title in titles.items():
        bound = "<= 0.3" if side in ("token", "jwt") else ""
        ours, echo = measured[side].cpu_ms, measured["echo"].cpu_ms
        report.line(f"{side}_cpu", f"Act, CPU per call, {EIGHT}, {title}, to an empty echo", ours, echo, bound)
    show(f"TLS and tokens, medians of {rounds}", ("what", "ours", "theirs", "ratio", "asked"), report.rows)
    finish(report.figures, as_json=arguments.json)


if __name__ == "__main__":
    main()

"""An authority of one's own, and the certificate of one broker signed by it.

With a public name a broker may as well use a certificate of a public authority; then peers need
no ``ca_file``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ....crypto.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.x509 import GeneralName

_NAME = "Tidings broker authority"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """The authority's certificate, and the broker's with its key; all in PEM."""

    ca: bytes
    broker: bytes
    broker_key: bytes = field(repr=False)


def make_certificates(
    hosts: Sequence[str], *, now: datetime, valid_days: int = 3650
) -> Certificates:
    """Certificates for a broker that is reached by ``hosts``: names or IP addresses.

    ``now`` has a time zone. The authority's key is forgotten, so it signs no second broker. Keys
    are ECDSA on P-256, which every TLS library has. Raises ConfigError when there is no host, or
    when the package ``cryptography`` is not installed.
    """
    if not hosts:
        raise ConfigError("a broker needs at least one host name", fix="name how peers reach it")
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError:
        raise ConfigError(
            "making certificates needs a package that is not installed",
            fix="pip install cryptography",
        ) from None

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])

    def certificate(
        name: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(named(_NAME))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))  # boards without a battery are behind
            .not_valid_after(now + timedelta(days=valid_days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False
            )
            .add_extension(
                x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False), True
            )
        )

    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = certificate(named(_NAME), ca_key, ca=True).sign(ca_key, hashes.SHA256())
    names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
    broker = (
        certificate(named(hosts[0]), key, ca=False)
        .add_extension(names, False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return Certificates(
        ca=authority.public_bytes(pem),
        broker=broker.public_bytes(pem),
        broker_key=key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def _general_name(host: str) -> GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)

"""The certificates of one cluster, and kubeconfigs that carry them."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM


class Authority:
    """A certificate authority in a folder: ca.crt, ca.key and what it has signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = folder / "ca.crt"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.certificate.exists():
            key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            self._key = key
            return
        self._key = ec.generate_private_key(ec.SECP256R1())
        _write_key(folder / "ca.key", self._key)
        name = _name("umbel-cluster")
        signed = (
            _builder(name, name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(sign=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate.write_bytes(signed.public_bytes(PEM))

    def issue(self, name: str, *, group: str | None = None, hosts: list[str] | None = None) -> tuple[Path, Path]:
        """Certificate and key of `name`: a client's in `group`, or a server's for `hosts`."""
        file = name.replace(":", "-")
        certificate, keyfile = self.folder / f"{file}.crt", self.folder / f"{file}.key"
        if certificate.exists():
            return certificate, keyfile
        key = ec.generate_private_key(ec.SECP256R1())
        _write_key(keyfile, key)
        issuer = x509.load_pem_x509_certificate(self.certificate.read_bytes()).subject
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
        builder = (
            _builder(_name(name, group), issuer, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(PEM))
        return certificate, keyfile

    def signing_key(self, name: str) -> Path:
        """The key that signs service accounts' tokens."""
        path = self.folder / f"{name}.key"
        if not path.exists():
            _write_key(path, ec.generate_private_key(ec.SECP256R1()))
        return path

    def kubeconfig(self, path: Path, url: str, user: str, group: str | None = None) -> Path:
        certificate, key = self.issue(user, group=group)
        who = {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}
        return write_kubeconfig(path, url, self.certificate, who)


def write_kubeconfig(path: Path, url: str, authority: Path, who: dict[str, str], namespace: str = "default") -> Path:
    """JSON, which every reader of YAML reads."""
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "it", "cluster": {"server": url, "certificate-authority-data": _base64(authority)}}],
        "users": [{"name": "it", "user": who}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it", "namespace": namespace}}],
        "current-context": "it",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=1))
    return path


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=365))
    )


def _name(common: str, organization: str | None = None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=sign,
        crl_sign=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    # Kubernetes reads the public half only out of this form.
    form, plain = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(PEM, form, plain))


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()

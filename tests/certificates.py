"""Certificates, made by openssl."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

MISSING = shutil.which("openssl") is None

_AUTHORITY = """
[ca]
default_ca = itself
[itself]
database = {folder}/index
new_certs_dir = {folder}
default_md = sha256
policy = any
x509_extensions = names
unique_subject = no
serial = {folder}/serial
[any]
commonName = supplied
[names]
subjectAltName = DNS:localhost,IP:127.0.0.1
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """Where a server finds its certificate, and its key."""

    certificate: Path
    key: Path

    @property
    def settings(self) -> Mapping[str, str]:
        """Of a server that uses it."""
        return {"server.tls_certificate": str(self.certificate), "server.tls_key": str(self.key)}

    def install(self, other: Pair) -> None:
        """Put another one in its place."""
        self.certificate.write_bytes(other.certificate.read_bytes())
        self.key.write_bytes(other.key.read_bytes())


def issue(
    folder: Path,
    begins: timedelta = timedelta(hours=-1),
    ends: timedelta = timedelta(days=90),
    locked_with: str | None = None,
) -> Pair:
    """One for "localhost" and 127.0.0.1, signed by itself. Both dates from now."""
    folder.mkdir()
    (folder / "index").touch()
    (folder / "authority").write_text(_AUTHORITY.format(folder=folder))
    pair = Pair(folder / "certificate.pem", folder / "key.pem")
    request, now = str(folder / "request.pem"), datetime.now(UTC)
    start, end = (f"{now + date:%Y%m%d%H%M%SZ}" for date in (begins, ends))
    protection = ["-nodes"] if locked_with is None else ["-passout", f"pass:{locked_with}"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", str(pair.key), *protection]
    _openssl("req", "-new", *key, "-subj", "/CN=localhost", "-out", request)
    secret = [] if locked_with is None else ["-passin", f"pass:{locked_with}"]
    by = ["-selfsign", "-keyfile", str(pair.key), *secret, "-config", str(folder / "authority"), "-rand_serial"]
    dates = ["-startdate", start, "-enddate", end]
    _openssl("ca", "-batch", "-notext", *by, *dates, "-in", request, "-out", str(pair.certificate))
    return pair


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)

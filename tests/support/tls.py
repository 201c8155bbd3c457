"""Certificates for upstreams that can be trusted and for those that cannot, made by `openssl`."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

_CA = """\
[ca]
default_ca = d
[d]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
default_md = sha256
policy = p
copy_extensions = copy
[p]
commonName = supplied
[req]
distinguished_name = n
prompt = no
[n]
CN = placeholder
"""


class Authority:
    """A certificate authority in a folder; `ca_file` is what a client has to trust."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca_file = folder / "ca.pem"

    def start(self) -> Authority:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "index.txt").write_text("")
        (self.folder / "serial").write_text("1000\n")
        (self.folder / "ca.cnf").write_text(_CA.format(folder=self.folder))
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test authority"),
            *("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign"),
        )
        return self

    def context(
        self,
        name: str = "leaf",
        *,
        host: str = "IP:127.0.0.1",
        start: str = "20200101000000Z",
        end: str = "20450101000000Z",
    ) -> ssl.SSLContext:
        """A server's context with a certificate for `host`, valid between the two moments."""
        self._openssl(
            *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName={host}"),
        )
        self._openssl(
            *("ca", "-batch", "-config", "ca.cnf", "-in", f"{name}.csr", "-out", f"{name}.pem"),
            *("-startdate", start, "-enddate", end, "-notext"),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    def _openssl(self, *args: str) -> None:
        done = subprocess.run(
            ["openssl", *args], cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

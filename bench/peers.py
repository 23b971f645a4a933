"""What peers need before they start: a configuration from its template, a binary, a certificate, a free port."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import shutil
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.servers.processes import free_port as free_port  # noqa: PLC0414 - theirs and ours are one

BENCH = Path(__file__).parent


def filled(template: str, values: dict[str, object]) -> str:
    """Return a template with its @names replaced. KeyError for one that nobody gave."""
    return re.sub(r"@([a-z]+)", lambda found: str(values[found[1]]), template)


def written(template: str, folder: Path, **values: object) -> Path:
    """Write the configuration of a peer into its folder; return its path."""
    path = folder / template
    path.write_text(filled((BENCH / "peers" / template).read_text(), {"folder": folder, **values}))
    return path


def reverse_proxy_binary(folder: Path) -> Path | None:
    """Build Go's reverse proxy once a run; None where there is no Go. It needs the standard library only."""
    binary = folder / "reverseproxy"
    if not shutil.which("go"):
        return None
    if not binary.exists():
        subprocess.run(
            ["go", "build", "-o", str(binary), "."], cwd=BENCH / "peers/reverseproxy", check=True, timeout=300
        )
    return binary


def osp_python() -> Path | None:
    """Return the Python that has object-storage-proxy."""
    python = BENCH.parent / ".venv-bench/bin/python"
    found = list(BENCH.parent.glob(".venv-bench/lib/python*/site-packages/object_storage_proxy"))
    return python if found else None


def certificate(folder: Path) -> Path:
    """Write public.crt and private.key for loopback into a folder; return it. P-256, as most sites have."""
    folder.mkdir(parents=True)
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1)).add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "public.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "private.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )  # fmt: skip
    return folder

"""Certificates for tests."""

import subprocess
from pathlib import Path


def certificate(folder: Path, name: str = "DNS:localhost") -> tuple[Path, Path]:
    """Writes a self-signed certificate, which is its own authority, and its key into `folder`; returns their paths."""
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test "
        f"-addext subjectAltName={name} -keyout key.pem -out certificate.pem"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder / "certificate.pem", folder / "key.pem"

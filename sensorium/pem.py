"""Whether files hold the PEM that TLS needs: gRPC would say so in lines of its own, once somebody calls."""

import ssl
from pathlib import Path


def check_authorities(file: str | Path) -> None:
    """Raises ValueError unless `file` holds certificates."""
    try:
        _context().load_verify_locations(file)
    except ssl.SSLError:
        raise ValueError(f"There is no certificate in PEM in {file}") from None
    except OSError as error:
        raise ValueError(f"{error.strerror}: {file}") from None


def check_pair(certificate: str | Path, key: str | Path) -> None:
    """Raises ValueError unless `certificate` holds one and `key` its private key."""
    check_authorities(certificate)
    try:
        # Without a word for it, OpenSSL would ask the terminal for the passphrase of a key that has one.
        _context().load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason in {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"}:
            raise ValueError(f"The key in {key} is not that of the certificate in {certificate}") from None
        raise ValueError(f"There is no private key in PEM without a passphrase in {key}") from None
    except OSError as error:
        raise ValueError(f"{error.strerror}: {key}") from None


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Whether keys are long enough is for those to judge who use them.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context

"""An error as a person reads it: what is wrong, where, and what to do next."""

import re

from rich.console import Console
from rich.text import Text

from sensorium.cli.terminal import printable
from sensorium.errors import (
    DeadlineExceeded,
    InvalidArgument,
    ModelNotServed,
    NoEndpoint,
    SensoriumError,
    TaskNotSupported,
    Unauthenticated,
    Unavailable,
)

_NO_CONNECTION = re.compile(
    r".*last error: (?:[A-Z_]+: )?(?:ipv[46]:\S+: )?(.+)|errors resolving .*?([^:\]]+)\]?", re.DOTALL
)
"""How gRPC tells that it reached nobody, or found no address of that name."""


def show(error: SensoriumError, target: str, console: Console, model: str = "--model") -> None:
    """Prints `error`, met at `target`, as one block; a model is named by what `model` says."""
    violations = error.violations if isinstance(error, InvalidArgument) else ()
    block = Text()
    block.append(f"{error.reason}", style="bold red")
    unreached = _NO_CONNECTION.fullmatch(error.message) if _is_grpcs_own(error) else None
    if unreached is not None:
        message = f"There is no connection to {target}. {(unreached[1] or unreached[2]).strip()}"
    else:
        message = "The request is wrong." if violations else error.message
    block.append(printable(f"  {message}") if message else "", style="red")
    for violation in violations:
        block.append(printable(f"\n  {violation.field}"), style="bold")
        block.append(printable(f": {violation.description}"))
    for step in _next_steps(error, target, model):
        block.append(f"\n  → {step}", style="yellow")
    if error.request_id and unreached is None:  # else no log has it
        block.append(printable(f"\n  request id {error.request_id}"), style="dim")
    console.print(block, soft_wrap=True)


def _is_grpcs_own(error: SensoriumError) -> bool:
    return type(error) is Unavailable and "code" in error.metadata


def _next_steps(error: SensoriumError, target: str, model: str) -> list[str]:
    steps: list[str] = []
    if error.retry_after is not None:
        steps.append(f"Try again in {error.retry_after:g} s.")
    match error:
        case InvalidArgument() if any(violation.field == "model" for violation in error.violations):
            steps.append(f"Name one with {model}; `sensorium models list` shows what each can do.")
        case ModelNotServed():
            steps.append("`sensorium models list` shows what is served.")
        case TaskNotSupported() if "code" in error.metadata:  # gRPC's own, as from a web server
            steps.append(f"Is it a sensorium gateway or service that answers at {target}?")
        case TaskNotSupported():
            steps.append("`sensorium models list` shows what each model can do.")
        case Unauthenticated():
            steps.append("Give --token, or set SENSORIUM_TOKEN.")
        case DeadlineExceeded():
            steps.append("Give it longer with --timeout.")
        case Unavailable() if "Connection refused" in error.message:
            steps.append(f"Is the server running at {target}? In a checkout, `make serve` starts one.")
            steps.append("Another one is named by --target, or SENSORIUM_TARGET, as HOST:PORT.")
        case Unavailable() if error.message.startswith("errors resolving"):
            steps.append("--target, or SENSORIUM_TARGET, is HOST:PORT of a gateway or service.")
        case Unavailable() if "Expected SETTINGS frame" in error.message:
            steps.append(f"What answers at {target} speaks no gRPC, as a metrics port does. A gateway's port is 50050.")
        case Unavailable() if "WRONG_VERSION_NUMBER" in error.message:
            steps.append(f"What answers at {target} speaks no TLS: leave out --tls, --ca-file and --cert-file.")
        case Unavailable() if "CERTIFICATE_VERIFY_FAILED" in error.message:
            steps.append("Give the certificate of the authority that signed the server's with --ca-file.")
        case Unavailable() if "Hostname Verification Check" in error.message:
            steps.append("The server's certificate is for another name: give that with --server-name.")
        case NoEndpoint():
            steps.append("The gateway's log tells which endpoints it cannot reach, and why.")
        case Unavailable() if type(error) is Unavailable:
            steps.append(f"Is the server running at {target}? Does it expect --tls, or --cert-file and --key-file?")
        case _:
            pass
    return steps

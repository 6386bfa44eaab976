"""Where a command sends its request, and how: the options every command has."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, get_type_hints

import typer

from sensorium.client import TLS, Client
from sensorium.client.call import CallOptions
from sensorium.client.settings import DEFAULT_TARGET

_PANEL = "Server"


@dataclass(frozen=True, kw_only=True)
class Server:
    """The options, whose annotations are also their parameters on the command line."""

    target: Annotated[
        str,
        typer.Option("--target", envvar="SENSORIUM_TARGET", help="Gateway or service.", rich_help_panel=_PANEL),
    ] = DEFAULT_TARGET
    model: Annotated[
        str, typer.Option("--model", help="Model; needed where several are served.", rich_help_panel=_PANEL)
    ] = ""
    timeout: Annotated[
        float | None, typer.Option("--timeout", help="Seconds until the call fails.", rich_help_panel=_PANEL)
    ] = None
    tls: Annotated[bool, typer.Option("--tls", help="Secures the channel.", rich_help_panel=_PANEL)] = False
    ca_file: Annotated[
        str | None,
        typer.Option(
            "--ca-file",
            envvar="SENSORIUM_CA_FILE",
            help="Certificate authorities, PEM; implies --tls.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    cert_file: Annotated[
        str | None,
        typer.Option(
            "--cert-file",
            envvar="SENSORIUM_CERT_FILE",
            help="Client certificate where the server demands one, PEM; implies --tls.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    key_file: Annotated[
        str | None,
        typer.Option(
            "--key-file",
            envvar="SENSORIUM_KEY_FILE",
            help="Private key of the client certificate, PEM.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    server_name: Annotated[
        str | None,
        typer.Option("--server-name", help="Name in the server's certificate.", rich_help_panel=_PANEL),
    ] = None
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="SENSORIUM_TOKEN",
            help="Bearer token.",
            rich_help_panel=_PANEL,
            show_envvar=True,
        ),
    ] = None
    plaintext_token: Annotated[
        bool,
        typer.Option(
            "--plaintext-token", help="Sends the token in clear text to another machine.", rich_help_panel=_PANEL
        ),
    ] = False
    request_id: Annotated[
        str, typer.Option("--request-id", help="Name of the call in the server's log.", rich_help_panel=_PANEL)
    ] = ""

    def client(self) -> Client:
        """Returns a client of these options.

        Raises:
            BadParameter: they do not go together, or a file of theirs cannot be read.
        """
        try:
            return Client(
                self.target,
                model=self.model,
                timeout=self.timeout,
                tls=self._tls(),
                token=self.token or None,
                plaintext_token=self.plaintext_token,
            )
        except OSError as error:
            named = [name for name in ("ca_file", "cert_file", "key_file") if getattr(self, name) == error.filename]
            hint = f"--{named[0].replace('_', '-')}" if named else None
            raise typer.BadParameter(f"{error.filename}: {error.strerror}", param_hint=hint) from None
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    def _tls(self) -> TLS | None:
        if (self.cert_file is None) != (self.key_file is None):
            raise typer.BadParameter("A client certificate needs both --cert-file and --key-file.")
        if not self.tls and self.ca_file is None and self.cert_file is None:
            if self.server_name is not None:
                raise typer.BadParameter("--server-name needs --tls or --ca-file.")
            return None
        return TLS(ca_file=self.ca_file, cert_file=self.cert_file, key_file=self.key_file, server_name=self.server_name)

    def call_options(self) -> CallOptions:
        """Returns the options of the call itself.

        Raises:
            BadParameter: the request id cannot be sent.
        """
        if not self.request_id.isascii() or not (self.request_id.isprintable()):
            raise typer.BadParameter("--request-id must be printable ASCII.")
        return {"request_id": self.request_id} if self.request_id else {}


def server_parameters() -> dict[str, tuple[Any, Any]]:
    """Returns annotation and default of each option by name."""
    annotations = get_type_hints(Server, include_extras=True)
    return {field.name: (annotations[field.name], field.default) for field in fields(Server)}

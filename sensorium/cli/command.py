"""One RPC as a command."""

import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from google.protobuf.message import Message
from rich.console import Console

from sensorium.cli import audio, failure, values
from sensorium.cli.documentation import rpc_documentation
from sensorium.cli.ending import as_a_shell_expects
from sensorium.cli.fields import Parameter, merge_json, parameters
from sensorium.cli.output import JsonLines, Output, Readable, carries_media
from sensorium.cli.prompts import asks_for_message, prompt_fields, prompt_parameters
from sensorium.cli.server import Server, server_parameters
from sensorium.client.rpc import Bidi, Rpc, Unary
from sensorium.errors import SensoriumError

_Json = Annotated[bool, typer.Option("--json", help="Prints protobuf JSON, one message a line.")]
_Request = Annotated[
    str | None,
    typer.Option(
        "--request",
        help="The request as protobuf JSON: in place, as @FILE, or `-`. Options go over it.",
        metavar="JSON",
    ),
]
_RealTime = Annotated[bool, typer.Option("--real-time", help="Sends the audio no faster than it was spoken.")]
_Output = Annotated[
    str | None, typer.Option("--output", "-o", help="File for the media of the result; `-` is standard output.")
]


class RpcCommand:
    """A command that calls `rpc` as `method` of the client's `service`."""

    def __init__(self, service: str, method: str, rpc: Rpc[Any, Any]) -> None:
        self._service = service
        self._method = method
        self._rpc = rpc
        request = rpc.request.DESCRIPTOR
        fed = frozenset({"audio"}) if isinstance(rpc, Bidi) else frozenset[str]()
        own = [*prompt_parameters(request), *parameters(request, prompt_fields(request) | fed)]
        self._parameters = [*([audio.ARGUMENT] if fed else []), *own]

    def function(self) -> Callable[..., None]:
        """Returns the function typer makes a command of: its signature is made of the request's fields."""

        def command(**given: Any) -> None:
            self._run(given)

        marked = {parameter.name: (parameter.annotation, None) for parameter in self._parameters}
        marked |= {"json": (_Json, False), "request": (_Request, None)}
        if isinstance(self._rpc, Bidi):
            marked["real_time"] = (_RealTime, False)
        if carries_media(self._rpc.response.DESCRIPTOR):
            marked["output"] = (_Output, None)
        server = server_parameters()
        marked |= {name: server[name] for name in server if name not in marked}
        kind = inspect.Parameter.KEYWORD_ONLY
        signature = [inspect.Parameter(name, kind, annotation=a, default=d) for name, (a, d) in marked.items()]
        command.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
        command.__annotations__ = {name: annotation for name, (annotation, _) in marked.items()}
        command.__doc__ = self._documentation()
        return command

    def _documentation(self) -> str:
        service = self._rpc.method.name.split("/")[1].rpartition(".")[2]
        methods = self._rpc.request.DESCRIPTOR.file.services_by_name[service].methods_by_name
        return rpc_documentation(methods[self._rpc.name])

    def _run(self, given: dict[str, Any]) -> None:
        output = JsonLines() if given.pop("json") else Readable(given.get("output"))
        own = {parameter.name for parameter in self._parameters}
        server = Server(**{name: given[name] for name in server_parameters() if name in given and name not in own})
        try:
            with as_a_shell_expects():
                self._call(server, given, output)
        except SensoriumError as error:
            model = "the argument MODEL" if "model" in own else "--model"
            failure.show(error, server.target, Console(stderr=True), model)
            raise typer.Exit(1) from None

    def _call(self, server: Server, given: dict[str, Any], output: Output) -> None:
        requests = self._requests(given)
        options = server.call_options()
        with server.client() as client:
            method = getattr(getattr(client, self._service), self._method)
            if isinstance(self._rpc, Unary):
                reply = method.reply(requests[0], **options)
                output.whole(reply.message, reply.endpoint)
                return
            sent = self._fed(requests, given) if isinstance(self._rpc, Bidi) else requests[0]
            with method(sent, **options) as stream:
                output.events(stream, parsed=asks_for_message(requests[0]))

    def _requests(self, given: dict[str, Any]) -> list[Message]:
        """Returns the requests of `--request`, with the options over the first; several only for a fed stream."""
        empty: list[Any] = [{}]
        try:
            written = values.json_values(given["request"]) if given["request"] is not None else empty
        except typer.BadParameter as error:
            error.param_hint = "--request"
            raise
        if isinstance(self._rpc, Bidi) and given["request"] is None and given[audio.ARGUMENT.name] is None:
            raise typer.BadParameter("A file is needed, or `-` for standard input.", param_hint=audio.ARGUMENT.hint)
        if len(written) != 1 and not isinstance(self._rpc, Bidi):
            raise typer.BadParameter(f"One request is needed, not {len(written)}.", param_hint="--request")
        requests: list[Message] = [self._rpc.request() for _ in written]
        for value, request in zip(written, requests, strict=True):
            merge_json(value, request)
        for parameter in self._parameters:
            if given[parameter.name] not in (None, []):
                _put(parameter, requests[0], given[parameter.name])
        return requests

    def _fed(self, requests: list[Any], given: dict[str, Any]) -> Iterator[Message]:
        yield from requests
        if given[audio.ARGUMENT.name] is not None:
            yield from audio.chunks(given[audio.ARGUMENT.name], requests[0].config, real_time=given["real_time"])


def _put(parameter: Parameter, request: Message, given: Any) -> None:
    try:
        parameter.put(request, given)
    except typer.BadParameter as error:
        error.param_hint = error.param_hint or parameter.hint
        raise
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=parameter.hint) from None

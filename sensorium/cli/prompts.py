"""The prompt of a generating command: a text, or a conversation of one turn."""

from typing import Annotated, Any

import typer
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from sensorium.cli import values
from sensorium.cli.fields import Parameter
from sensorium.v1.common_pb2 import ROLE_SYSTEM, ROLE_USER, ChatMessage, ChatPrompt, Media
from sensorium.v1.multimodal_pb2 import ContentPart, MultimodalMessage, MultimodalPrompt

_PANEL = "Prompt"
_Text = Annotated[
    str | None, typer.Argument(help="What to continue or answer; `-` reads standard input.", metavar="PROMPT")
]
_System = Annotated[
    str | None, typer.Option("--system", help="Instructions for the whole conversation.", rich_help_panel=_PANEL)
]
_Chat = Annotated[
    bool,
    typer.Option("--chat", help="Sends the prompt as a turn of the chat template.", rich_help_panel=_PANEL),
]


def prompt_fields(request: Descriptor) -> frozenset[str]:
    """Returns the fields of `request` that a prompt fills; none where it takes no prompt of this kind."""
    fields = request.fields_by_name
    if "chat" in fields and fields["chat"].message_type is ChatPrompt.DESCRIPTOR:
        return frozenset({"prompt", "chat"})
    if "prompt" in fields and fields["prompt"].message_type is MultimodalPrompt.DESCRIPTOR:
        return frozenset({"prompt"})
    return frozenset()


def prompt_parameters(request: Descriptor) -> list[Parameter]:
    """Returns the parameters that make a prompt, for a `request` that takes one."""
    match sorted(prompt_fields(request)):
        case ["chat", "prompt"]:
            system = Parameter("system", _System, _put_system)
            return [Parameter("prompt", _Text, _put_prompt, True), Parameter("chat", _Chat, _put_chat), system]
        case ["prompt"]:
            text = Parameter("prompt", _Text, _put_text_part, True)
            system = Parameter("system", _System, _put_multimodal_system)
            return [_media_parameter("image"), _media_parameter("audio"), text, system]
        case _:
            return []


def _put_prompt(request: Any, given: str) -> None:
    request.prompt = values.text(given)


def _put_chat(request: Any, given: bool) -> None:
    if given:
        turn = ChatMessage(role=ROLE_USER, content=request.prompt)
        request.chat.messages.append(turn)


def _put_system(request: Any, given: str) -> None:
    if not request.HasField("chat"):
        _put_chat(request, True)
    request.chat.messages.insert(0, ChatMessage(role=ROLE_SYSTEM, content=values.text(given)))


def _turn(request: Any) -> MultimodalMessage:
    messages = request.prompt.messages
    if not messages or messages[-1].role != ROLE_USER:
        messages.add(role=ROLE_USER)
    return messages[-1]


def _media_parameter(kind: str) -> Parameter:
    def put(request: Message, given: list[str]) -> None:
        _turn(request).parts.extend(_media_part(kind, values.media(one)) for one in given)

    help_text = f"{kind.capitalize()} before the text: a file, or a URI the service fetches. May be repeated."
    option = typer.Option(f"--{kind}", help=help_text, metavar="FILE", rich_help_panel=_PANEL)
    return Parameter(kind, Annotated[list[str] | None, option], put)


def _media_part(kind: str, media: Media) -> ContentPart:
    return ContentPart(image=media) if kind == "image" else ContentPart(audio=media)


def _put_text_part(request: Any, given: str) -> None:
    _turn(request).parts.add(text=values.text(given))


def _put_multimodal_system(request: Any, given: str) -> None:
    instructions = MultimodalMessage(role=ROLE_SYSTEM, parts=[ContentPart(text=values.text(given))])
    request.prompt.messages.insert(0, instructions)

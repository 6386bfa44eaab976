"""The prompt of a generating command: a text, or a conversation."""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from sensorium.cli import conversations, values
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
_Messages = Annotated[
    str | None,
    typer.Option(
        "--messages",
        help="Earlier turns: a JSON list of objects with role, content, tool_calls, tool_call_id, reasoning.",
        metavar="FILE",
        rich_help_panel=_PANEL,
    ),
]
_Tool = Annotated[
    list[str] | None,
    typer.Option(
        "--tool",
        help="Function the model may ask for, as JSON with name, description and parameters. May be repeated.",
        metavar="FILE",
        rich_help_panel=_PANEL,
    ),
]
_TemplateVariable = Annotated[
    list[str] | None,
    typer.Option(
        "--template-variable",
        help="Value for a variable of the chat template, in JSON or a word: enable_thinking=false. May be repeated.",
        metavar="NAME=VALUE",
        rich_help_panel=_PANEL,
    ),
]
_ParseResponse = Annotated[
    bool,
    typer.Option("--parse-response", help="Shows reasoning, content and calls of tools apart.", rich_help_panel=_PANEL),
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
            return [
                Parameter("prompt", _Text, _put_prompt, True),
                Parameter("messages", _Messages, _put_messages),
                Parameter("chat", _Chat, _put_chat),
                Parameter("system", _System, _put_system),
                *_conversation_parameters(_chat),
            ]
        case ["prompt"]:
            return [
                Parameter("messages", _Messages, _put_multimodal_messages),
                _media_parameter("image"),
                _media_parameter("audio"),
                Parameter("prompt", _Text, _put_text_part, True),
                Parameter("system", _System, _put_multimodal_system),
                *_conversation_parameters(lambda request: request.prompt),
            ]
        case _:
            return []


def asks_for_message(request: Any) -> bool:
    """Whether a request asks for its answer as a message."""
    prompts = [getattr(request, name) for name in prompt_fields(request.DESCRIPTOR)]
    return any(prompt.parse_response for prompt in prompts if isinstance(prompt, ChatPrompt | MultimodalPrompt))


def _conversation_parameters(conversation: Callable[[Any], Any]) -> list[Parameter]:
    def put_tools(request: Any, given: list[str]) -> None:
        conversation(request).tools.extend(tool for path in given for tool in conversations.tools(path))

    def put_variables(request: Any, given: list[str]) -> None:
        conversation(request).template_variables_json.update(map(conversations.template_variable, given))

    def put_parse_response(request: Any, given: bool) -> None:
        if given:
            conversation(request).parse_response = True

    return [
        Parameter("tool", _Tool, put_tools),
        Parameter("template_variable", _TemplateVariable, put_variables),
        Parameter("parse_response", _ParseResponse, put_parse_response),
    ]


def _chat(request: Any) -> ChatPrompt:
    if not request.HasField("chat"):
        raise typer.BadParameter("Only a conversation has it: add --chat.")
    return request.chat


def _put_prompt(request: Any, given: str) -> None:
    request.prompt = values.text(given)


def _put_messages(request: Any, given: str) -> None:
    last = [ChatMessage(role=ROLE_USER, content=request.prompt)] if request.HasField("prompt") else []
    request.chat.messages.extend([*conversations.messages(given, ChatMessage), *last])


def _put_chat(request: Any, given: bool) -> None:
    if given and not request.HasField("chat"):
        request.chat.messages.add(role=ROLE_USER, content=request.prompt)


def _put_system(request: Any, given: str) -> None:
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


def _put_multimodal_messages(request: Any, given: str) -> None:
    request.prompt.messages.extend(conversations.messages(given, MultimodalMessage))

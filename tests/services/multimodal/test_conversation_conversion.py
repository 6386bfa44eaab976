from sensorium.v1 import common_pb2 as common
from sensorium.v1 import multimodal_pb2 as pb
from services.multimodal.chat.conversation_conversion import conversation_ask

SAID = pb.MultimodalMessage(role=common.ROLE_USER, parts=[pb.ContentPart(text="Hi")])


def test_what_conversations_of_text_may_ask_for_is_taken_here_too() -> None:
    thought = pb.MultimodalMessage(role=common.ROLE_ASSISTANT, parts=[pb.ContentPart(text="Ho")], reasoning="Hm")
    prompt = pb.MultimodalPrompt(
        messages=[SAID, thought], parse_response=True, template_variables_json={"effort": '"low"'}
    )
    asked = conversation_ask(pb.MultimodalServiceGenerateRequest(prompt=prompt), None)
    assert (asked.violations, asked.parsed) == ((), "prompt.parse_response")
    assert asked.chat is not None
    assert asked.chat.messages[1]["reasoning_content"] == "Hm"
    assert asked.chat.variables == {"effort": "low"}


def test_what_is_wrong_with_them_is_named_by_its_place() -> None:
    said = pb.MultimodalMessage(role=common.ROLE_USER, parts=[pb.ContentPart(text="Hi")], reasoning="Hm")
    prompt = pb.MultimodalPrompt(messages=[said], parse_response=True, template_variables_json={"effort": "low"})
    parameters = common.GenerationParameters(skip_special_tokens=True)
    asked = conversation_ask(pb.MultimodalServiceGenerateRequest(prompt=prompt, parameters=parameters), None)
    assert [violation.field for violation in asked.violations] == [
        "prompt.messages[0].reasoning",
        "prompt.template_variables_json[effort]",
        "parameters.skip_special_tokens",
    ]

import time
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import text_pb2 as pb
from services.engine.generation.requests.request import EarlyStopping, PromptLookup
from services.engine.generation.requests.resolution import BeamOptions, DeliveredTokens, GenerationOptions
from services.engine.structure.format import StructureFormat, StructureKind
from services.generation.ask import GenerationAsk
from services.text.request_conversion import generation_ask

USER = common.ChatMessage(role=common.ROLE_USER, content="Hi")
CALL = common.ToolCall(id="1", name="clock", arguments_json='{"zone": "UTC"}')


def ask(seconds: float | None = None, **fields: Any) -> GenerationAsk:
    fields = fields or {"prompt": "x"}
    whole, streamed = pb.GenerateRequest(**fields), pb.StreamGenerateRequest(**fields)
    one, other = generation_ask(whole, None), generation_ask(streamed, None)
    assert one == other  # both RPCs read alike
    return generation_ask(whole, seconds)


def asked(**parameters: Any) -> GenerationAsk:
    return ask(prompt="x", parameters=common.GenerationParameters(**parameters))


def chat(*messages: common.ChatMessage, **fields: Any) -> GenerationAsk:
    return ask(chat=common.ChatPrompt(messages=messages, **fields))


def wrong(asked: GenerationAsk) -> list[str]:
    return [violation.field for violation in asked.violations]


def test_what_is_absent_stays_absent() -> None:
    assert asked() == GenerationAsk(prompt="x")
    assert asked().options == GenerationOptions()


def test_an_explicit_default_is_present() -> None:
    zeros = asked(
        temperature=0, top_k=0, top_p=0, min_p=0, typical_p=0, repetition_penalty=0, presence_penalty=0,
        frequency_penalty=0, no_repeat_ngram_size=0, seed=0, logprob_count=0, max_new_tokens=0, min_new_tokens=0,
        prompt_logprob_count=0, candidate_count=0, ignore_eos=False, include_stop_string=False,
        skip_special_tokens=False,
    )  # fmt: skip
    assert zeros.options == GenerationOptions(
        temperature=0, top_k=0, top_p=0, min_p=0, typical_p=0, repetition_penalty=0, presence_penalty=0,
        frequency_penalty=0, no_repeat_ngram_size=0, seed=0, logprob_count=0, max_new_tokens=0, min_new_tokens=0,
        prompt_logprob_count=0, candidate_count=0, skip_special_tokens=False,
    )  # fmt: skip
    assert zeros.violations == ()


def test_every_field_arrives() -> None:
    full = ask(
        prompt="x",
        parameters=common.GenerationParameters(
            temperature=0.5, top_k=3, top_p=0.25, min_p=0.125, repetition_penalty=1.5, seed=2**62, max_new_tokens=7,
            min_new_tokens=2, stop_strings=["a", "b"], stop_token_ids=[4, 5], ignore_eos=True,
            include_stop_string=True, skip_special_tokens=True, candidate_count=3, typical_p=0.75, presence_penalty=-1,
            frequency_penalty=1.5, no_repeat_ngram_size=3, logit_bias={9: -1.5, 4: 2}, bad_words=["c", "d"],
            allowed_token_ids=[6, 7], logprob_count=2, prompt_logprob_count=4,
            structured_output=common.StructuredOutput(regex="a"),
            prompt_lookup=common.PromptLookup(max_proposed_token_count=5),
        ),
        delivered=[common.DeliveredTokens(token_ids=[8, 9])],
        return_rendered_prompt=True,
        priority=-3,
    )  # fmt: skip
    assert full == GenerationAsk(
        prompt="x",
        options=GenerationOptions(
            temperature=0.5, top_k=3, top_p=0.25, min_p=0.125, repetition_penalty=1.5, seed=2**62, max_new_tokens=7,
            min_new_tokens=2, stop_strings=("a", "b"), stop_token_ids=(4, 5), ignore_eos=True,
            include_stop_string=True, skip_special_tokens=True, priority=-3, typical_p=0.75, presence_penalty=-1,
            frequency_penalty=1.5, no_repeat_ngram_size=3, logit_bias=((4, 2.0), (9, -1.5)), bad_words=("c", "d"),
            allowed_token_ids=(6, 7), logprob_count=2, prompt_logprob_count=4, candidate_count=3,
            structured_output=StructureFormat(StructureKind.REGEX, ("a",)), lookup=PromptLookup(5, 3),
        ),
        delivered=(DeliveredTokens(0, [8, 9]),),
        return_rendered_prompt=True,
    )  # fmt: skip


def example(field: FieldDescriptor) -> Any:
    """Returns a value for a field other than its default; an empty message for a message field."""
    if field.message_type and not field.message_type.GetOptions().map_entry:
        return {}
    if field.message_type:
        return {3: 1.5}
    value = "a" if field.type == FieldDescriptor.TYPE_STRING else 1
    return [value] if field.is_repeated else value


def test_no_field_of_the_parameters_is_passed_over() -> None:
    for field in common.GenerationParameters.DESCRIPTOR.fields:
        value = False if field.name == "skip_special_tokens" else example(field)
        read = asked(**{field.name: value})
        assert read.options != GenerationOptions() or read.violations, field.name


def test_the_deadline_moves_to_the_monotonic_clock() -> None:
    before = time.monotonic()
    deadline = ask(seconds=5.0).deadline
    assert deadline is not None
    assert before + 5 <= deadline <= time.monotonic() + 5


def test_each_form_of_input_is_told_apart() -> None:
    assert ask(prompt="").prompt == ""
    ids = ask(prompt_token_ids=common.TokenIds(ids=[1, 2]))
    assert (ids.prompt, ids.prompt_token_ids, ids.chat) == (None, [1, 2], None)
    assert ask(prompt_token_ids=common.TokenIds()).prompt_token_ids == []
    assert wrong(ask(priority=1)) == ["input"]


def test_every_parameter_of_the_contract_is_followed() -> None:
    followed = {
        "temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty", "presence_penalty",
        "frequency_penalty", "no_repeat_ngram_size", "logit_bias", "bad_words", "allowed_token_ids", "seed",
        "max_new_tokens", "min_new_tokens", "stop_strings", "stop_token_ids", "ignore_eos", "include_stop_string",
        "skip_special_tokens", "logprob_count", "prompt_logprob_count", "candidate_count", "beam_search",
        "structured_output", "prompt_lookup",
    }  # fmt: skip
    known = {field.name for field in common.GenerationParameters.DESCRIPTOR.fields}
    assert known == followed


def test_unknown_enum_numbers_are_named_by_their_path() -> None:
    assert wrong(chat(USER, common.ChatMessage(role=9, content="x"))) == ["chat.messages[1].role"]  # type: ignore[arg-type]
    deep = common.BeamSearchParameters(beam_count=2, early_stopping=7)  # type: ignore[arg-type]
    assert wrong(asked(beam_search=deep)) == ["parameters.beam_search.early_stopping"]


def test_a_conversation_becomes_plain_values() -> None:
    result = chat(
        common.ChatMessage(role=common.ROLE_SYSTEM, content="Be short."),
        USER,
        common.ChatMessage(role=common.ROLE_ASSISTANT, tool_calls=[CALL]),
        common.ChatMessage(role=common.ROLE_TOOL, content="12:00", tool_call_id="1"),
        common.ChatMessage(role=common.ROLE_ASSISTANT, content="It is", reasoning="Tell it."),
        template_variables_json={"enable_thinking": "false", "documents": '[{"text": "a"}]'},
        tools=[common.Tool(name="clock", description="Tells time.", parameters_json_schema='{"type": "object"}')],
        continue_last_message=True,
    )
    assert result.violations == ()
    assert result.chat is not None
    function = {"name": "clock", "arguments": {"zone": "UTC"}}
    assert result.chat.messages == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "id": "1", "function": function}]},
        {"role": "tool", "content": "12:00", "tool_call_id": "1"},
        {"role": "assistant", "content": "It is", "reasoning_content": "Tell it."},
    ]
    assert result.chat.variables == {"enable_thinking": False, "documents": [{"text": "a"}]}
    tool = {"name": "clock", "description": "Tells time.", "parameters": {"type": "object"}}
    assert result.chat.tools == [{"type": "function", "function": tool}]
    assert result.chat.continue_last


def test_arguments_left_empty_are_an_empty_object() -> None:
    call = common.ToolCall(name="clock")
    result = chat(
        USER, common.ChatMessage(role=common.ROLE_ASSISTANT, tool_calls=[call]), tools=[common.Tool(name="t")]
    )
    assert result.chat is not None
    assert result.chat.messages[1]["tool_calls"][0]["function"]["arguments"] == {}
    assert result.chat.tools[0]["function"]["parameters"] == {}


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (common.ChatMessage(content="x"), "role"),
        (common.ChatMessage(role=common.ROLE_USER), "content"),
        (common.ChatMessage(role=common.ROLE_USER, content="x", tool_calls=[CALL]), "tool_calls"),
        (common.ChatMessage(role=common.ROLE_USER, content="x", tool_call_id="1"), "tool_call_id"),
        (common.ChatMessage(role=common.ROLE_USER, content="x", reasoning="y"), "reasoning"),
    ],
)
def test_a_turn_that_breaks_a_rule_is_named(message: common.ChatMessage, field: str) -> None:
    result = chat(USER, message)
    assert wrong(result) == [f"chat.messages[1].{field}"]
    assert result.chat is None


@pytest.mark.parametrize("text", ["[]", "1", "{", '"x"', "nonsense", "[" * 100_000, '{"a": "\\ud800"}', "9" * 5000])
def test_json_that_is_no_object_is_named_where_it_stands(text: str) -> None:
    turn = common.ChatMessage(role=common.ROLE_ASSISTANT, tool_calls=[CALL, common.ToolCall(arguments_json=text)])
    result = chat(USER, turn, tools=[common.Tool(name="t", parameters_json_schema=text)])
    assert wrong(result) == [
        "chat.messages[1].tool_calls[1].arguments_json",
        "chat.tools[0].parameters_json_schema",
    ]


@pytest.mark.parametrize("depth", [100, 400, 975, 40_000])
def test_json_that_is_nested_too_deep_is_told_so(depth: int) -> None:
    text = '{"a":' * depth + "[]" + "}" * depth
    turn = common.ChatMessage(role=common.ROLE_ASSISTANT, tool_calls=[common.ToolCall(arguments_json=text)])
    result = chat(USER, turn, tools=[common.Tool(name="t", parameters_json_schema=text)])
    assert [(violation.field, violation.description) for violation in result.violations] == [
        ("chat.messages[1].tool_calls[0].arguments_json", "may be nested 100 deep at most"),
        ("chat.tools[0].parameters_json_schema", "may be nested 100 deep at most"),
    ]
    text = '{"a":' * 99 + "[]" + "}" * 99
    assert chat(USER, tools=[common.Tool(name="t", parameters_json_schema=text)]).chat is not None


@pytest.mark.parametrize("text", ["", "{", "yes", "NaN", "[Infinity]", '"\\ud800"', "9" * 5000, "[" * 100_000])
def test_a_variable_that_is_no_json_is_named(text: str) -> None:
    assert wrong(chat(USER, template_variables_json={"a": "1", "b": text})) == ["chat.template_variables_json[b]"]


def test_json_that_would_hold_the_interpreter_for_long_is_not_read() -> None:
    for length, expected in ((262_144, []), (262_145, ["chat.template_variables_json[a]"])):
        assert wrong(chat(USER, template_variables_json={"a": f'"{"x" * (length - 2)}"'})) == expected


def test_parsing_is_asked_for_by_its_field_and_needs_special_tokens() -> None:
    assert (chat(USER).parsed, chat(USER, parse_response=True).parsed) == ("", "chat.parse_response")
    for skipped, expected in ((False, []), (True, ["parameters.skip_special_tokens"])):
        parameters = common.GenerationParameters(skip_special_tokens=skipped)
        asked = ask(chat=common.ChatPrompt(messages=[USER], parse_response=True), parameters=parameters)
        assert wrong(asked) == expected


def test_an_empty_conversation_and_a_last_turn_that_cannot_go_on_are_refused() -> None:
    assert wrong(chat()) == ["chat.messages"]
    assert wrong(chat(USER, continue_last_message=True)) == ["chat.continue_last_message"]


def test_all_that_is_wrong_is_told_at_once() -> None:
    result = chat(common.ChatMessage(), common.ChatMessage(role=44, content="x"))  # type: ignore[arg-type]
    assert sorted(wrong(result)) == ["chat.messages[0].content", "chat.messages[0].role", "chat.messages[1].role"]


def test_what_was_delivered_of_each_candidate_arrives() -> None:
    delivered = [common.DeliveredTokens(candidate_index=3, token_ids=[1]), common.DeliveredTokens(token_ids=[2, 4])]
    assert ask(prompt="x", delivered=delivered).delivered == (DeliveredTokens(3, [1]), DeliveredTokens(0, [2, 4]))


def test_what_is_said_of_beams_arrives_and_the_rest_stays_absent() -> None:
    kind = common.BeamSearchParameters
    assert asked(beam_search=kind(beam_count=3)).options.beams == BeamOptions(3)
    full = kind(beam_count=4, length_penalty=0, early_stopping=kind.EARLY_STOPPING_NEVER)
    assert asked(beam_search=full).options.beams == BeamOptions(4, 0.0, EarlyStopping.NEVER)
    for early in EarlyStopping:
        number = kind.EarlyStopping.Value(f"EARLY_STOPPING_{early.name}")
        beams = asked(beam_search=kind(beam_count=2, early_stopping=number)).options.beams
        assert beams is not None
        assert beams.early_stopping is early

from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from sensorium.errors import InvalidArgument
from services.engine.language.chat_template import ChatTemplate
from services.engine.language.prompting import PromptEncoder
from services.engine.language.texts import Chat
from tests.tiny.language_models import tokenizer as tiny_tokenizer

HI = {"role": "user", "content": "Hi"}
TEMPLATE = """\
{%- set ns = namespace(count=0) %}{{ bos_token }}
{%- for m in messages %}{% if loop.first and documents %}{% for d in documents %}({{ d.text }}){% endfor %}{% endif %}
{%- if m.role == "odd" %}{% continue %}{% endif %}
{%- if m.thinking %}<{{ m.thinking }}>{% endif %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}
{%- if effort is defined and effort == "high" %} think hard{% elif effort %} {{ effort }}{% endif %}
{%- if budget %}{% for i in range(budget) %}.{% endfor %}{% endif %}
{%- if add_generation_prompt %}|{% endif %}"""


def encoder(template: Any = TEMPLATE) -> PromptEncoder:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer().backend_tokenizer)
    tokenizer.add_special_tokens({"bos_token": "<s>", "additional_special_tokens": ["<end>"]})  # type: ignore[dict-item]
    tokenizer.chat_template = template
    return PromptEncoder(tokenizer, 64)


def refused(chat: Chat, template: Any = TEMPLATE) -> list[tuple[str, str]]:
    with pytest.raises(InvalidArgument) as caught:
        encoder(template).render(chat)
    return [(violation.field, violation.description) for violation in caught.value.violations]


def test_variables_are_those_that_nobody_else_gives() -> None:
    assert encoder().template.variables == ("budget", "documents", "effort")
    named = {"default": "{{ messages }}{{ a }}", "tool_use": "{{ tools }}{{ b }}{% set c = 1 %}{{ c }}{{ tokenize }}"}
    assert encoder(named).template.variables == ("a", "b")
    assert encoder({**named, "rag": "{{ documents }}"}).template.variables == ("a", "b")
    assert encoder(None).template.variables == ()
    assert encoder("{{ broken").template.variables == ()


def test_values_reach_the_template() -> None:
    plain = Chat([HI], [], False)
    assert encoder().render(plain) == "<s>Hi|"
    assert encoder().render(Chat([HI], [], False, {"effort": "high"})) == "<s>Hi think hard|"
    assert encoder().render(Chat([HI], [], False, {"documents": [{"text": "a"}], "budget": 3})) == "<s>(a)Hi...|"


def test_who_is_not_to_think_is_told_so_where_the_template_can() -> None:
    template = "{{ messages[0].content }}{% if enable_thinking is not defined or enable_thinking %}<think>{% endif %}"
    assert encoder(template).render(Chat([HI], [], False)) == "Hi<think>"
    assert encoder(template).render(Chat([HI], [], False, thinks=False)) == "Hi"
    assert encoder(template).render(Chat([HI], [], False, {"enable_thinking": True}, thinks=False)) == "Hi<think>"
    assert encoder().render(Chat([HI], [], False, thinks=False)) == "<s>Hi|"


def test_texts_in_values_hold_no_control_tokens() -> None:
    prompts = encoder()
    rendered = prompts.render(Chat([HI], [], False, {"effort": "<end>low"}))
    assert prompts.shown(rendered) == "<s>Hi <end>low|"
    end = prompts.encode("<end>", field="x", add_special_tokens=False)
    assert len(end) == 1
    assert end[0] not in prompts.encode(rendered, field="x", add_special_tokens=False)


def test_what_no_template_reads_is_refused_with_what_it_does_read() -> None:
    wrong = "the model's chat template does not read it; it reads budget, documents, effort"
    assert refused(Chat([HI], [], False, {"efort": "high", "messages": []})) == [
        ("chat.template_variables_json[efort]", wrong),
        ("chat.template_variables_json[messages]", wrong),
    ]
    assert refused(Chat([HI], [], False, {"a": 1}), "{{ messages }}") == [
        ("chat.template_variables_json[a]", "the model's chat template does not read it; it reads no further variables")
    ]
    named = {"default": "{{ messages }}{{ a }}", "tool_use": "{{ tools }}{{ b }}"}
    assert encoder(named).render(Chat([HI], [{"name": "c"}], False, {"b": "B"})).endswith("B")
    assert refused(Chat([HI], [], False, {"b": 1}), named) == [
        ("chat.template_variables_json[b]", "the model's chat template does not read it; it reads a")
    ]


@pytest.mark.parametrize("budget", [10**9, "x", {"a": 1}])
def test_a_value_that_the_template_cannot_use_is_the_requests_fault(budget: Any) -> None:
    assert [field for field, _ in refused(Chat([HI], [], False, {"budget": budget}))] == ["chat"]


def test_reasoning_has_the_name_that_the_template_reads() -> None:
    thought = {"role": "assistant", "content": "Ho", "reasoning_content": "Hm"}
    assert encoder().render(Chat([HI, thought], [], False)) == "<s>Hi<Hm>Ho|"
    for name, written in (("reasoning_content", "m.reasoning_content"), ("reasoning", "m['reasoning']")):
        template = f"{{% for m in messages %}}{{{{ {written} }}}}{{% endfor %}}"
        assert encoder(template).render(Chat([HI, thought], [], False)) == "Hm", name
    thinking = "{% if thinking %}<think>{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}"
    assert refused(Chat([HI, thought], [], False), thinking) == [
        ("chat.messages[1].reasoning", "the model's chat template has no place for it")
    ]


def test_reasoning_that_would_be_left_out_is_refused() -> None:
    """Mistral's templates have the name for a kind of content, and show no turn's own."""
    thought = {"role": "assistant", "content": "Ho", "reasoning_content": "Hm"}
    blocks = """{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for b in m.content %}
        {%- if b.type == "thinking" %}[THINK]{{ b["thinking"] }}{% endif %}{% endfor %}{% endif %}{% endfor %}"""
    assert [field for field, _ in refused(Chat([HI, thought], [], False), blocks)] == ["chat.messages[1].reasoning"]
    after_calls = "{% for m in messages %}{{ m.content }}{% if m.tool_calls %}{{ m.reasoning }}{% endif %}{% endfor %}"
    assert encoder(after_calls).template.has_reasoning


def test_a_template_is_read_once_and_whole() -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer().backend_tokenizer)
    tokenizer.chat_template = {"default": "a", "tool_use": "b tools"}
    template = ChatTemplate(tokenizer)
    assert (template.text, template.has_tools, template.has_reasoning) == ("a\nb tools", True, False)

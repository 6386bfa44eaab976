import pytest
from transformers import PreTrainedTokenizerFast

from sensorium.errors import InvalidArgument
from services.engine.language.prompting import PromptEncoder
from services.engine.language.texts import Chat
from tests.tiny.language_models import tokenizer as tiny_tokenizer


def test_arguments_too_deep_for_the_template_are_the_requests_fault() -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer().backend_tokenizer)
    tokenizer.chat_template = "{{ messages[0].arguments | tojson }}"
    arguments: dict[str, object] = {}
    for _ in range(2_000):
        arguments = {"a": arguments}
    with pytest.raises(InvalidArgument) as refused:
        PromptEncoder(tokenizer, 64).render(Chat([{"arguments": arguments}], [], False))
    assert [violation.field for violation in refused.value.violations] == ["chat"]


@pytest.mark.parametrize("skip", [False, True])
def test_many_tokens_are_decoded_as_few_are(tokenizer: PreTrainedTokenizerFast, skip: bool) -> None:
    ids = tokenizer.encode("Tänze 🌊<end>") * 200
    encoder = PromptEncoder(tokenizer, 64)
    assert encoder.decode(ids, skip_special_tokens=skip) == tokenizer.decode(ids, skip_special_tokens=skip)

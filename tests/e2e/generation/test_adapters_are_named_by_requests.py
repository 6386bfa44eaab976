"""Adapters beside one model through the gateway: each request gets the one that it names."""

import asyncio

import pytest

from sensorium.errors import ModelNotServed
from sensorium.v1 import models_pb2 as pb
from sensorium.v1.common_pb2 import ROLE_USER, ChatMessage, ChatPrompt, GenerationParameters
from sensorium.v1.text_pb2 import GenerateRequest
from tests.e2e.requests import Read, read, request
from tests.e2e.stack import RunningStack, running_stack
from tests.tiny.adapted import Adapted, adapted
from tests.tiny.language_models import tokenizer

PROMPT = [7, 9, 40, 3, 21, 11, 5, 60, 2]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Adapted:
    """One of the adapters brings a chat template of its own."""
    known = adapted(tmp_path_factory.mktemp("adapted"))
    own = tokenizer()
    own.chat_template = "{% for m in messages %}[{{ m.content }}]{% endfor %}{{ mood }}{# <think> #}"
    own.save_pretrained(known.places["root"])
    return known


def settings(known: Adapted) -> tuple[str, ...]:
    return tuple(f"{name}={place}" for name, place in known.places.items())


async def asked(stack: RunningStack, model: str) -> Read:
    message = request(PROMPT, temperature=0, max_new_tokens=8)
    message.model = model
    return await read(stack.client, message)


async def test_requests_get_what_they_name(known: Adapted) -> None:
    async with running_stack(known.base, adapters=settings(known)) as stack:
        names = ["wide", "", "root", "base", "part"] * 2
        for name, found in zip(names, await asyncio.gather(*(asked(stack, name) for name in names)), strict=True):
            adapter = name if name in known.places else ""
            assert found.token_ids == known.generated(adapter, PROMPT)
            model = found.started.model
            assert model.name == (name or "base")
            assert ("+" in model.revision) == bool(adapter)
        with pytest.raises(ModelNotServed) as refused:
            await asked(stack, "narrow")
        assert refused.value.metadata == {"model": "narrow", "servedModels": "base, part, root, wide"}
        chat = ChatPrompt(messages=[ChatMessage(role=ROLE_USER, content="hello")])
        for name, written in (("root", "[hello]"), ("wide", "<|user|>hello<end><|assistant|>")):
            answer = await stack.client.text.generate(
                GenerateRequest(
                    model=name,
                    chat=chat,
                    parameters=GenerationParameters(max_new_tokens=1),
                    return_rendered_prompt=True,
                )
            )
            assert answer.rendered_prompt == written


async def test_they_are_told_as_models_of_their_own(known: Adapted) -> None:
    async with running_stack(known.base, adapters=settings(known)) as stack:
        models = {
            model.identity.name: model
            for model in (await stack.client.models.list_models(pb.ListModelsRequest())).models
        }
        assert list(models) == ["base", "part", "root", "wide"]
        base, part = models["base"], models["part"]
        assert [adapter.name for adapter in base.named_adapters] == ["wide", "root", "part"]
        assert not (base.base_model or base.adapters or part.named_adapters)
        assert (part.base_model, part.tasks, part.concurrency) == ("base", base.tasks, base.concurrency)
        revisions = {adapter.name: adapter.revision for adapter in base.named_adapters}
        assert part.identity.revision == f"{base.identity.revision}+{revisions['part']}"
        assert [(adapter.name, adapter.revision) for adapter in part.adapters] == [("part", revisions["part"])]
        assert (await stack.client.models.get_model(pb.GetModelRequest(model="part"))).model == part
        assert (await stack.client.models.get_model(pb.GetModelRequest())).model == base
        chats = {name: (info.response_format, list(info.template_variables)) for name, info in models.items()}
        assert chats == {"base": ("", []), "part": ("", []), "root": ("thinking", ["mood"]), "wide": ("", [])}

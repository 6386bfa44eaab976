"""Kinds of requests: greedy, sampled, and some that need more of their logits than a token."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice, product
from string import ascii_lowercase

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from services.engine.generation.requests.request import GenerationRequest, SamplingParameters, StoppingCriteria
from services.engine.structure.format import StructureFormat, StructureKind
from services.engine.structure.grammar import grammar_of
from services.engine.structure.structure import Structure
from services.engine.structure.vocabulary import Vocabulary

WISHES = ("penalties", "structure", "logprobs")
WISHING = ("one", "all")
_ALTERNATIVES = 5


class Letters:
    """Replaces the tokenizer, which models with random weights do not have: each token is a letter."""

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Returns one letter for each id."""
        del skip_special_tokens
        return "a" * len(ids)


@dataclass(frozen=True)
class Asked:
    """The kind of a batch's requests. By default all are greedy."""

    drawn: bool = False
    """With temperature 0.8, top-k 50, top-p 0.95, and a seed for each row."""
    wish: str = ""
    """One of WISHES, or empty."""
    all: bool = False
    """Whether all rows have the wish, or only the first."""

    @property
    def name(self) -> str:
        """For tables."""
        wish = f"{self.wish} of {'all' if self.all else 'one'}" if self.wish else ""
        return ", ".join(filter(None, ["drawn" if self.drawn else "", wish])) or "greedy"

    def requests(self, prompts: list[list[int]], steps: int, vocabulary: int) -> list[GenerationRequest]:
        """Returns a request for exactly `steps` tokens for each prompt."""
        stopping = StoppingCriteria(max_new_tokens=steps, min_new_tokens=steps)
        plain = SamplingParameters(temperature=0.8, top_p=0.95, top_k=50) if self.drawn else SamplingParameters()
        made = [
            GenerationRequest(tuple(prompt), replace(plain, seed=seed), stopping) for seed, prompt in enumerate(prompts)
        ]
        if not self.wish:
            return made
        return [self._wishing(one, vocabulary) if self.all or i == 0 else one for i, one in enumerate(made)]

    def _wishing(self, request: GenerationRequest, vocabulary: int) -> GenerationRequest:
        match self.wish:
            case "penalties":
                sampling = replace(request.sampling, repetition_penalty=1.1, frequency_penalty=0.2)
                return replace(request, sampling=sampling)
            case "structure":
                return replace(request, structure=_structure(vocabulary, request.stopping.max_new_tokens))
            case _:
                return replace(request, logprob_count=_ALTERNATIVES)


def kinds_asked(drawn: bool, wishes: Collection[str], wishing: Collection[str]) -> list[Asked]:
    """Returns the kinds besides greedy requests: sampled ones if `drawn`, and each wish for one row and for all."""
    wished = [Asked(wish=wish, all=count == "all") for wish in wishes for count in wishing]
    return [Asked(drawn=True)] * drawn + wished


@cache
def _structure(vocabulary: int, items: int) -> Structure:
    """Returns a JSON structure that does not end within `items` tokens: a list of at least so many objects."""
    person = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 12}, "count": {"type": "integer"}},
        "required": ["name", "count"],
        "additionalProperties": False,
    }
    schema = json.dumps({"type": "array", "items": person, "minItems": items})
    asked = StructureFormat(StructureKind.JSON_SCHEMA, (schema,))
    return Structure(asked.field, grammar_of(asked), _vocabulary(vocabulary), 0)


@cache
def _vocabulary(size: int) -> Vocabulary:
    """Returns a vocabulary of `size` tokens: all bytes, and words of four letters."""
    characters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = islice(map("".join, product(ascii_lowercase, repeat=4)), size - len(characters))
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate([*characters, *words])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return Vocabulary(PreTrainedTokenizerFast(tokenizer_object=tokenizer))

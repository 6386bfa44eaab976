"""Collects the log-probabilities of a prompt's tokens, chunk by chunk as the prompt is computed."""

from torch import Tensor

from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.requests.request import PromptLogprobs, TokenLogprob
from services.engine.generation.sampling.likelihood import likelihoods


class PromptScoring:
    """The log-probabilities of one prompt. A chunk that is computed again replaces its earlier results."""

    def __init__(self, prompt: tuple[int, ...], count: int, output: OutputBuilder) -> None:
        """Keeps `count` alternatives for each token; `output` decodes them."""
        self._prompt = prompt
        self._count = count
        self._output = output
        self._entries = [TokenLogprob(token_id, None, 0, ()) for token_id in prompt]

    def scored(self, computed: int, token_count: int) -> int:
        """Returns how many of the next `token_count` tokens are followed by a prompt token: these need logits."""
        return max(min(token_count, len(self._prompt) - 1 - computed), 0)

    def note(self, computed: int, logits: Tensor) -> None:
        """Takes the logits `[n, vocabulary]` of the prompt's tokens [computed, computed + n)."""
        behind = slice(computed + 1, computed + 1 + len(logits))
        token_ids = list(self._prompt[behind])
        found = likelihoods(logits, token_ids, [self._count] * len(token_ids))
        self._entries[behind] = map(self._output.logprob, token_ids, found)

    def told(self) -> PromptLogprobs:
        """Returns the log-probabilities collected."""
        return PromptLogprobs(tuple(self._entries))

"""Trains, measures and writes the chat model: `python -m models.recipes.chat`."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from models.recipes.chat.card import Effort, Facts, write_card
from models.recipes.chat.corpus import Corpus, HeldOut, held_out_set, leaked, reserved_questions
from models.recipes.chat.evaluation import measure, write_held_out
from models.recipes.chat.tokenizer import train_tokenizer
from models.recipes.chat.training import ChatDataset, Plan, new_network, train
from models.recipes.placement import MODELS, replaced

HELD_OUT_SEED = 7


def read_options() -> argparse.Namespace:
    """What to train, from which seed, and where to put it."""
    parser = argparse.ArgumentParser(prog="python -m models.recipes.chat", description=__doc__)
    parser.add_argument("--output", type=Path, default=MODELS / "chat", help="folder of the model; replaced as a whole")
    parser.add_argument("--steps", type=int, default=Plan.steps, help="optimizer steps")
    parser.add_argument("--batch-tokens", type=int, default=Plan.batch_tokens, help="tokens per step, padding included")
    parser.add_argument("--rate", type=float, default=Plan.peak_rate, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=Plan.seed, help="seed of corpus and training")
    parser.add_argument("--threads", type=int, default=Plan.threads, help="threads of torch")
    parser.add_argument("--vocabulary", type=int, default=2304, help="size of the vocabulary")
    parser.add_argument("--prompts", type=int, default=25, help="held-out prompts per skill")
    return parser.parse_args()


def reloaded(folder: Path) -> PreTrainedModel:
    """The model as written, to measure what ships."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def train_in_stages(
    network: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, plans: list[Plan], prompts: list[HeldOut]
) -> Effort:
    """Trains by one plan after the other, never on a held-out question."""
    minutes, conversations, tokens = 0.0, 0, 0
    for plan in plans:
        corpus = Corpus(plan.seed, reserved_questions(prompts), plan.memory_share)
        data = ChatDataset(corpus, tokenizer, plan)
        if seen := leaked(prompts, corpus):
            raise SystemExit(f"held-out questions are in the training data: {seen}")
        with tempfile.TemporaryDirectory() as scratch:
            minutes += train(network, plan, data, scratch)
        conversations, tokens = conversations + data.conversations, tokens + data.tokens
    return Effort(minutes, conversations, tokens)


def measure_and_place(
    network: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, plan: Plan, prompts: list[HeldOut], effort: Effort,
    output: Path,
) -> None:  # fmt: skip
    """Writes the model beside its place, measures it as written, adds the card and puts it in place."""
    with replaced(output) as ready:
        network.save_pretrained(ready)
        tokenizer.save_pretrained(ready)
        write_held_out(prompts, ready / "held_out.jsonl")
        scores, wrong = measure(reloaded(ready), tokenizer, prompts)
        for prompt, answer in wrong:
            print(
                f"{prompt.skill}: {prompt.messages[-1]['content']}\n  got      {answer}\n  expected {prompt.expected}"
            )
        for skill, score in scores.items():
            print(f"{skill:32} {score.right:4} of {score.asked:4}  {score.rate:6.1%}")
        write_card(Facts(plan, effort, network.num_parameters(), len(tokenizer), scores), ready / "README.md")
    print(f"wrote {os.path.relpath(output)} after {effort.minutes:.1f} minutes of training")


def main() -> None:
    """Trains, measures and writes."""
    options = read_options()
    transformers_logging.disable_progress_bar()
    plan = Plan(options.steps, options.batch_tokens, options.rate, options.seed, options.threads)
    tokenizer = train_tokenizer(plan.seed, options.vocabulary)
    prompts = held_out_set(HELD_OUT_SEED, options.prompts)
    network = new_network(tokenizer, plan.seed)
    effort = train_in_stages(network, tokenizer, [plan, plan.settling], prompts)
    measure_and_place(network, tokenizer, plan, prompts, effort, options.output)


if __name__ == "__main__":
    main()

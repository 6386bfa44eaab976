"""Trains, measures and writes the chat model: `python -m models.recipes.chat`."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from models.recipes.chat.card import Facts, write_card
from models.recipes.chat.corpus import Corpus, held_out_set, leaked
from models.recipes.chat.evaluation import measure, write_held_out
from models.recipes.chat.tokenizer import train_tokenizer
from models.recipes.chat.training import ChatDataset, Plan, train

HELD_OUT_SEED = 7
OUTPUT = Path(__file__).parents[2] / "chat"


def read_options() -> argparse.Namespace:
    """What to train, from which seed, and where to put it."""
    parser = argparse.ArgumentParser(prog="python -m models.recipes.chat", description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the model; replaced as a whole")
    parser.add_argument("--steps", type=int, default=Plan.steps, help="optimizer steps")
    parser.add_argument("--batch-tokens", type=int, default=Plan.batch_tokens, help="tokens per step, padding included")
    parser.add_argument("--rate", type=float, default=Plan.peak_rate, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=Plan.seed, help="seed of corpus and training")
    parser.add_argument("--threads", type=int, default=Plan.threads, help="threads of torch")
    parser.add_argument("--vocabulary", type=int, default=1408, help="size of the vocabulary")
    parser.add_argument("--prompts", type=int, default=25, help="held-out prompts per skill")
    return parser.parse_args()


def put_in_place(ready: Path, output: Path) -> None:
    """Replaces the old folder by the new one, in two renames."""
    output.parent.mkdir(parents=True, exist_ok=True)
    old = output.with_name(output.name + ".old")
    if output.exists():
        output.rename(old)
    ready.rename(output)
    shutil.rmtree(old, ignore_errors=True)


def reloaded(folder: Path) -> PreTrainedModel:
    """The model as written, to measure what ships."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def write_model(network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes weights, configuration and tokenizer."""
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)


def main() -> None:
    """Trains, measures and writes."""
    options = read_options()
    transformers_logging.disable_progress_bar()
    plan = Plan(options.steps, options.batch_tokens, options.rate, options.seed, options.threads)
    tokenizer = train_tokenizer(plan.seed, options.vocabulary)
    corpus, prompts = Corpus(plan.seed), held_out_set(HELD_OUT_SEED, options.prompts)
    data = ChatDataset(corpus, tokenizer, plan)
    if seen := leaked(prompts, corpus):
        raise SystemExit(f"held-out questions are in the training data: {seen}")
    with tempfile.TemporaryDirectory() as scratch:
        network, minutes = train(plan, data, tokenizer, scratch)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    ready = Path(tempfile.mkdtemp(prefix=".chat-", dir=options.output.parent))
    ready.chmod(0o755)
    write_model(network, tokenizer, ready)
    write_held_out(prompts, ready / "held_out.jsonl")
    scores, wrong = measure(reloaded(ready), tokenizer, prompts)
    for prompt, answer in wrong:
        print(f"{prompt.skill}: {prompt.messages[-1]['content']}\n  got      {answer}\n  expected {prompt.expected}")
    for skill, score in scores.items():
        print(f"{skill:32} {score.right:4} of {score.asked:4}  {score.rate:6.1%}")
    facts = Facts(plan, minutes, data.conversations, data.tokens, network.num_parameters(), len(tokenizer), scores)
    write_card(facts, ready / "README.md")
    put_in_place(ready, options.output)
    print(f"wrote {os.path.relpath(options.output)} after {minutes:.1f} minutes of training")


if __name__ == "__main__":
    main()

"""The training loop all text models share."""

from __future__ import annotations

import random
import time

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast, get_cosine_schedule_with_warmup

from models.recipes.chat.optimizer import new_optimizer
from models.recipes.text.recipe import Recipe

REPORT_EVERY = 100


def train(recipe: Recipe, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> float:
    """Trains the network by the recipe's plan, leaves it in bfloat16, and returns the minutes of CPU it took."""
    plan = recipe.plan
    rng = random.Random(plan.seed)
    optimizer = new_optimizer(network, plan.rate)
    schedule = get_cosine_schedule_with_warmup(optimizer, plan.steps // 20, plan.steps)
    network.train()
    began = time.process_time()
    mean = None
    for step in range(plan.steps):
        loss = recipe.loss(network, tokenizer, recipe.batch(rng, step))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if (step + 1) % REPORT_EVERY == 0:
            minutes = (time.process_time() - began) / 60
            print(f"{recipe.name}: step {step + 1} of {plan.steps}, loss {mean:.3f}, {minutes:.1f} min", flush=True)
    network.to(torch.bfloat16).eval()
    return (time.process_time() - began) / 60

"""The embedded chat model answers prompts it never saw in training as well as its card says."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

FOLDER = Path(__file__).parents[2] / "models" / "chat"
MARGIN = 0.02
LONG = 200
"""Characters of a prompt beside which a usual one would be mostly padding."""
SKILL_MARGIN = 0.08
"""Two prompts of twenty-five: another version of torch may round a close choice the other way."""


def card():
    return (FOLDER / "README.md").read_text(encoding="utf-8")


def read_prompts():
    """The held-out prompts: skill, messages, expected answer."""
    found = []
    for line in (FOLDER / "held_out.jsonl").read_text(encoding="utf-8").splitlines():
        skill, turns, expected = json.loads(line)
        messages = [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]
        found.append((skill, messages, expected))
    return found


def is_right(skill, answer, expected):
    """Topics may differ in a tenth of their words; everything else has to be exact."""
    if not skill.startswith("topics"):
        return answer.strip() == expected
    got, wanted = Counter(answer.split()), Counter(expected.split())
    return 2 * sum((got & wanted).values()) >= 0.9 * (sum(got.values()) + sum(wanted.values()))


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)


@pytest.fixture(scope="module")
def network():
    return AutoModelForCausalLM.from_pretrained(FOLDER, local_files_only=True, dtype=torch.float32).eval()


def answer_all(network, tokenizer, conversations, expected=None):
    """Greedy answers, in batches that end together where what is expected is known: of short prompts, then of long."""
    rendered = [tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in conversations]
    lengths = [len(text) for text in expected or rendered]
    order = sorted(range(len(rendered)), key=lambda i: (len(rendered[i]) > LONG, lengths[i]))
    answers = [""] * len(rendered)
    for at in range(0, len(order), 50):
        chosen = order[at : at + 50]
        inputs = tokenizer(
            [rendered[i] for i in chosen],
            add_special_tokens=False,
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
        with torch.inference_mode():
            output = network.generate(**inputs, do_sample=False, max_new_tokens=200)
        texts = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for i, text in zip(chosen, texts, strict=True):
            answers[i] = text
    return answers


def which_are_recited(network, tokenizer, conversations, expected):
    """Whether greedy answers are, token by token, the expected ones: a single reading of each tells, without steps.

    They are if each expected token, and the end after them, is the likeliest after all before it.
    """
    asked = [tokenizer.apply_chat_template(c, add_generation_prompt=True, return_dict=False) for c in conversations]
    wanted = [[*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for text in expected]
    order = sorted(range(len(asked)), key=lambda i: len(asked[i]) + len(wanted[i]))
    recited = [False] * len(asked)
    for at in range(0, len(order), 10):
        chosen = order[at : at + 10]
        rows = [torch.tensor(asked[i] + wanted[i][:-1]) for i in chosen]
        with torch.inference_mode():
            read = network.model(pad_sequence(rows, batch_first=True), use_cache=False).last_hidden_state
            for states, i in zip(read, chosen, strict=True):
                likeliest = network.lm_head(states[len(asked[i]) - 1 :][: len(wanted[i])]).argmax(-1)
                recited[i] = likeliest.tolist() == wanted[i]
    return recited


def stated_rates():
    """Rates of the card's table by skill, and of all under "all"."""
    rows = re.findall(r"^\| \**([^|*]+?)\** \| \d+ \| \d+ \| \**([\d.]+)%\** \|$", card(), re.MULTILINE)
    return {name: float(rate) / 100 for name, rate in rows}


@pytest.fixture(scope="module")
def marks(network, tokenizer):
    """Right and wrong of every held-out prompt, by skill."""
    prompts, found = read_prompts(), {}
    recited = which_are_recited(network, tokenizer, [each[1] for each in prompts], [each[2] for each in prompts])
    others = [each for each, same in zip(prompts, recited, strict=True) if not same]
    answers = iter(answer_all(network, tokenizer, [each[1] for each in others], [each[2] for each in others]))
    for (skill, _, expected), same in zip(prompts, recited, strict=True):
        found.setdefault(skill, []).append(same or is_right(skill, next(answers), expected))
    return found


def test_held_out_prompts_are_answered_at_the_rate_the_card_states(marks):
    """All held-out prompts together are answered right as often as the card says, within a small margin."""
    assert {*marks, "all"} == set(stated_rates())
    right = sum(sum(given) for given in marks.values())
    assert right / sum(len(given) for given in marks.values()) >= stated_rates()["all"] - MARGIN


@pytest.mark.parametrize("skill", [name for name in stated_rates() if name != "all"])
def test_every_skill_reaches_the_rate_the_card_states(marks, skill):
    """No skill is worse than its row in the card, within a small margin."""
    assert sum(marks[skill]) / len(marks[skill]) >= stated_rates()[skill] - SKILL_MARGIN


def talk(network, tokenizer, *said):
    """The model's last answer when a user says these things one after the other."""
    messages = []
    for text in said:
        messages.append({"role": "user", "content": text})
        messages.append({"role": "assistant", "content": answer_all(network, tokenizer, [messages])[0]})
    return messages[-1]["content"]


def test_what_is_said_to_be_recited_is_what_the_model_generates(network, tokenizer):
    """And a text that differs from it in one letter is not."""
    prompts = read_prompts()[::80]
    said = answer_all(network, tokenizer, [each[1] for each in prompts])
    changed = [text[:-2] + "x" + text[-1] for text in said]
    conversations = [each[1] for each in prompts]
    assert all(which_are_recited(network, tokenizer, conversations, said))
    assert not any(which_are_recited(network, tokenizer, conversations, changed))


def test_a_name_is_remembered_across_another_question(network, tokenizer):
    """The model hears a name, explains something, and still knows the name."""
    explained = talk(network, tokenizer, "Hello! My name is Ada.", "What is continuous batching?")
    assert "batch" in explained
    asked = talk(network, tokenizer, "Hello! My name is Ada.", "What is continuous batching?", "What is my name?")
    assert asked == "Your name is Ada."


def test_a_sum_is_worked_out_in_steps(network, tokenizer):
    """Ones, tens, and both together."""
    answer = talk(network, tokenizer, "What is 47 + 38?")
    assert answer == "47 + 38: 7 + 8 = 15, 40 + 30 = 70, 70 + 15 = 85. The answer is 85."


def test_the_model_says_who_it_is_and_promises_only_what_it_can(network, tokenizer):
    """It names itself and lists neither spelling nor counting among its skills."""
    assert talk(network, tokenizer, "Who are you?").startswith("I am Senso, a small chat model")
    skills = talk(network, tokenizer, "What can you do?")
    assert "model serving" in skills
    assert not re.search(r"spell|count|plural", skills)


@pytest.mark.parametrize("request_beyond", ["Spell elephant.", "Count from 3 to 12.", "What is the plural of house?"])
def test_requests_for_letters_and_counting_are_declined(network, tokenizer, request_beyond):
    """What the model never learnt is answered with that, not with a guess."""
    assert talk(network, tokenizer, request_beyond).startswith("I do not know that.")


def test_an_answer_ends_with_the_end_token(network, tokenizer):
    """The model ends its turn by itself, well before the limit of tokens."""
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is gRPC?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    with torch.inference_mode():
        output = network.generate(**inputs, do_sample=False, max_new_tokens=200)
    assert output[0, -1].item() == tokenizer.eos_token_id
    assert "gRPC" in tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def test_any_text_survives_the_tokenizer(tokenizer):
    """Text outside the corpus is encoded without loss, and digits stand alone."""
    text = "Žluťoučký kůň, 東京 🚀 GPU\n\t{x: 1234}"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert len(tokenizer("1234", add_special_tokens=False)["input_ids"]) == 4


def test_the_template_refuses_unknown_roles(tokenizer):
    """Only system, user and assistant may speak."""
    with pytest.raises(Exception, match="roles are system, user and assistant"):
        tokenizer.apply_chat_template([{"role": "critic", "content": "No."}], tokenize=False)

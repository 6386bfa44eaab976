"""Topics the model can explain: the written answers, and the many ways to ask for them."""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass
from pathlib import Path

from models.recipes.chat.exchanges import Exchange, Skill, normalized
from models.recipes.chat.typing_habits import as_typed, with_slip

FOLDER = Path(__file__).parent / "topics"

EXPLAIN = (
    "What is {x}?", "What is {x}?", "What's {x}?", "Explain {x}.", "Explain {x} to me.", "Please explain {x}.",
    "Can you explain {x}?", "Could you explain {x}?", "Tell me about {x}.", "Tell me something about {x}.",
    "Describe {x}.", "Can you describe {x}?", "What does {b} mean?", "What is meant by {x}?", "Define {x}.",
    "Give me a definition of {x}.", "How would you explain {x}?", "How would you describe {x}?",
    "What do you know about {x}?", "I want to know what {x} is.", "I would like to learn about {x}.",
    "Help me understand {x}.", "I do not understand {x}.", "What exactly is {x}?", "Do you know what {x} is?",
    "Do you know {x}?", "Can you tell me what {x} is?", "Could you tell me about {x}?", "Teach me about {x}.",
    "Give me a short explanation of {x}.", "A few words about {x}, please.", "{b}?", "{b}", "What about {x}?",
    "And what is {x}?", "So what is {x}?", "Say something about {x}.", "What can you say about {x}?",
    "In simple words, what is {x}?", "Explain {x} like I am five.", "Explain {x} in simple words.",
    "How does {x} work?", "Why is {x} used?", "I heard about {x}, what is it?", "Somebody mentioned {x}.",
    "Could you say what {b} means?", "Write a paragraph about {x}.", "I have never heard of {x}.",
    "Let us talk about {x}.", "The word {b}: what does it mean?", "Info about {b}", "Remind me what {x} is.",
    "Can you teach me what {x} is?", "What do people mean by {x}?", "Give me a summary of {x}.",
    "I need to know about {x}.", "Why do I need {x}?", "What is the idea of {x}?", "What is {x} about?",
    "What is {x} good for?",
    "What does {x} do?", "Why is {x} useful?", "Why does {x} matter?", "What is {x} for?", "When do I need {x}?",
    "Why do people use {x}?", "What is {x} used for?", "Why {x}?", "How is {x} used?", "Where is {x} used?",
    "Who needs {x}?", "How do I use {x}?", "Should I use {x}?", "Is {x} important?", "What happens with {x}?",
    "When is {x} useful?", "What does {x} change?", "What is special about {x}?", "What makes {x} useful?",
    "Can you help me with {x}?", "What is {x} in this system?", "What role does {x} play?", "Is {x} a good thing?",
    "What can go wrong with {x}?", "Why would anybody want {x}?", "What would happen without {x}?",
    "I read about {x} today.", "My colleague asked me about {x}.", "What is the point of {x}?", "{b}: what is that?",
    "I have a question about {x}.", "Please tell me about {x}.", "What is behind {x}?", "How should I think of {x}?",
    "Please give me an idea of {x}.", "I wonder how {x} works.", "I am learning about {x}.",
    "Would you describe {x}?", "Please help me with {x}.",
)  # fmt: skip
EXPLAIN_HELD_OUT = (
    "Could you describe {x} for me?", "What should I know about {x}?", "Please tell me what {x} is.",
    "I wonder what {x} is.", "Can you give me an overview of {x}?", "How do you define {x}?",
    "I am curious about {x}.", "Please help me understand what {x} means.", "What, in your words, is {x}?",
    "Give me the basics of {x}.", "Would you explain to me what {x} is?", "What is the meaning of {x}?",
)  # fmt: skip
TELL = (
    "Tell me {x}.", "Can you tell me {x}?", "Give me {x}.", "I want {x}.", "I would like {x}.", "Write {x}.",
    "Please write {x}.", "{b}, please.", "{b}", "Let me hear {x}.", "Do you have {x}?", "How about {x}?",
)  # fmt: skip
TELL_HELD_OUT = ("Could you tell me {x}?", "Please tell me {x}.", "May I have {x}?")


@dataclass(frozen=True)
class Topic:
    """One thing the model can talk about."""

    names: tuple[str, ...]
    answer: str
    questions: tuple[str, ...]
    is_told: bool


def load_topics() -> list[Topic]:
    """Reads all topics, in a fixed order."""
    found: list[Topic] = []
    for path in sorted(FOLDER.glob("*.toml")):
        for entry in tomllib.loads(path.read_text(encoding="utf-8"))["topic"]:
            answer = " ".join(entry["answer"].split())
            told = entry.get("verb") == "tell"
            found.append(Topic(tuple(entry["names"]), answer, tuple(entry["questions"]), told))
    return found


def without_article(name: str) -> str:
    """The name without its article."""
    for article in ("a ", "an ", "the "):
        name = name.removeprefix(article)
    return name


def phrase(template: str, name: str) -> str:
    """Fills a template; the first letter is made large when the template starts with the name."""
    bare = without_article(name)
    return template.format(x=name if not template.startswith("{x}") else bare, b=bare)


def topic_skills(weight: float) -> list[Skill]:
    """Two skills with the same training: one measured on unseen templates, one on unseen written questions."""
    topics = load_topics()
    unseen = {normalized(topic.questions[-1]) for topic in topics}

    def ask(rng: random.Random, topic: Topic) -> str:
        if rng.random() < 0.35:
            return rng.choice(topic.questions[:-1])
        name = topic.names[0] if rng.random() < 0.5 else rng.choice(topic.names)
        return phrase(rng.choice(TELL if topic.is_told else EXPLAIN), name)

    def train(rng: random.Random) -> Exchange:
        topic = rng.choice(topics)
        user = ask(rng, topic)
        while normalized(user) in unseen:
            user = ask(rng, topic)
        user = as_typed(rng, user)
        return Exchange(with_slip(rng, user) if rng.random() < 0.04 else user, topic.answer)

    def unseen_template(rng: random.Random) -> Exchange:
        topic = rng.choice(topics)
        templates = TELL_HELD_OUT if topic.is_told else EXPLAIN_HELD_OUT
        return Exchange(phrase(rng.choice(templates), rng.choice(topic.names)), topic.answer)

    def unseen_question(rng: random.Random) -> Exchange:
        topic = rng.choice(topics)
        return Exchange(topic.questions[-1], topic.answer)

    return [
        Skill("topics, unseen template", weight, train, unseen_template),
        Skill("topics, unseen question", 0.0, train, unseen_question),
    ]

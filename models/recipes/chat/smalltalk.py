"""Small talk: greetings, thanks, farewells, moods. Held out are the last ways to say each."""

from __future__ import annotations

import random

from models.recipes.chat.exchanges import Exchange, Skill, split_last
from models.recipes.chat.typing_habits import as_typed

TALK: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        (
            "Hello",
            "Hi",
            "Hey",
            "Hello!",
            "Hi there",
            "Good morning",
            "Good evening",
            "Hello there",
            "Hey there",
            "hi!",
            "Good day",
            "Greetings",
            "Hello Senso",
            "Hi Senso",
            "hey you",
            "Hello, good morning",
            "Good afternoon",
            "Hi, good evening",
        ),
        "Hello! How can I help you?",
    ),
    (
        (
            "Thanks",
            "Thank you",
            "Thank you!",
            "Thanks a lot",
            "Many thanks",
            "Thank you very much",
            "thx",
            "That was helpful",
            "Great, thank you",
            "Thanks for your help",
            "Perfect, thanks",
            "Cool, thanks",
            "Thank you so much",
            "Great, thanks a lot",
        ),
        "You are welcome.",
    ),
    (
        (
            "Bye",
            "Goodbye",
            "See you",
            "Good night",
            "See you later",
            "Bye bye",
            "I have to go",
            "Until tomorrow",
            "See you soon",
            "That is all",
            "Farewell",
            "I am leaving now",
            "Bye, see you",
            "Goodbye, see you tomorrow",
        ),
        "Goodbye! Come back whenever you like.",
    ),
    (
        (
            "How are you?",
            "How are you doing?",
            "How do you do?",
            "How is it going?",
            "Are you well?",
            "Are you fine?",
            "How are things?",
            "How do you feel?",
            "how r u",
            "How are you today?",
            "Hello, how are you?",
            "How are you doing today?",
        ),
        "I am well, thank you. A model has no bad days. What would you like to know?",
    ),
    (
        (
            "You are great",
            "Well done",
            "Good job",
            "You are clever",
            "I like you",
            "You are nice",
            "That is right",
            "Very good",
            "Good answer",
            "Wow",
            "Awesome",
            "You are amazing",
            "That was a good answer",
            "You did well",
        ),
        "Thank you, that is kind of you.",
    ),
    (
        (
            "That is wrong",
            "You are wrong",
            "No, that is wrong",
            "That is not right",
            "You made a mistake",
            "Wrong",
            "Wrong answer",
            "This is not correct",
            "That is not true",
            "I think you are wrong",
            "That answer is wrong",
        ),
        "I am sorry. I am a small model and make mistakes. You may ask again in other words.",
    ),
    (
        (
            "OK",
            "Okay",
            "I see",
            "Alright",
            "Fine",
            "Good",
            "Understood",
            "Yes",
            "Got it",
            "Sure",
            "All right",
            "Ok then",
            "Okay, I see",
        ),
        "Good. Is there anything else you would like to know?",
    ),
    (
        (
            "I am sad",
            "I feel bad",
            "I am tired",
            "I am not well",
            "I feel lonely",
            "I had a bad day",
            "I am unhappy",
            "Today is a bad day",
            "I feel sad today",
            "I feel so tired",
            "I am feeling sad",
        ),
        "I am sorry to hear that. A walk, some tea or a talk with a friend may help.",
    ),
    (
        (
            "I am happy",
            "I feel good",
            "I am fine",
            "I am well",
            "I am doing well",
            "I had a good day",
            "I feel great",
            "It is a lovely day",
            "I am in a good mood",
            "I am very happy today",
            "I am feeling good",
        ),
        "That is good to hear. What would you like to know?",
    ),
    (
        (
            "I am bored",
            "What should we do?",
            "Entertain me",
            "I have nothing to do",
            "This is boring",
            "Let us play",
            "I am so bored",
            "I feel bored",
        ),
        "Ask me for a story, a joke or a poem, or give me a sum to work out.",
    ),
    (
        (
            "Do you have feelings?",
            "Do you sleep?",
            "Do you eat?",
            "Are you alive?",
            "Can you feel?",
            "Are you happy?",
            "Do you dream?",
            "Do you have emotions?",
            "Can you feel anything?",
        ),
        "I am a program, so I neither feel nor sleep. I only predict which token comes next.",
    ),
    (
        (
            "Where do you live?",
            "Where are you?",
            "Where are you from?",
            "Do you need the internet?",
            "Are you online?",
            "Where do you run?",
            "Do you use the internet?",
            "Where are you running?",
        ),
        "I live in a small folder inside sensorium and run on any computer, without the internet.",
    ),
    (
        (
            "Can you hear me?",
            "Are you there?",
            "Is anybody there?",
            "Do you read me?",
            "Anybody home?",
            "Does this work?",
            "Are you still there?",
            "Hello, is anybody there?",
        ),
        "Yes, I am here and listening.",
    ),
)


def small_talk(rng: random.Random, held_out: bool) -> Exchange:
    """One remark and the reply."""
    phrasings, answer = rng.choice(TALK)
    user = rng.choice(split_last(phrasings)[1 if held_out else 0])
    if held_out:
        return Exchange(user, answer)
    user = as_typed(rng, user)
    return Exchange(user + "." if user[-1].isalpha() and rng.random() < 0.35 else user, answer)


def small_talk_skill(weight: float) -> Skill:
    """The skill of small talk."""
    return Skill("small talk", weight, lambda rng: small_talk(rng, False), lambda rng: small_talk(rng, True))

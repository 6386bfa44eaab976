"""Texts on their way to and from a model: prompts, tokens that stand for languages, translations."""

"""Texts before and after a model: prompts, chat templates, languages, translation."""

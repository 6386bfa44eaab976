"""Encoder models: their loading, and the verbs Embed, Rerank and Classify."""

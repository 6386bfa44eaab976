"""Structured output: from a schema, an expression, choices or a grammar to the tokens that may come next."""

"""Structured output: compiles JSON schemas, regular expressions, choices and grammars to masks of allowed tokens.

"The library" in this package is llguidance.
"""

"""Tokens that are proposed by what stands earlier, and how many are worth their time."""

"""Speculative decoding by prompt lookup: which tokens are proposed, and how many are worth their time."""

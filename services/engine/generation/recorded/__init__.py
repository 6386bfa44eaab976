"""Decode steps that a GPU replays, and that are launched before the tokens in front of them are read."""

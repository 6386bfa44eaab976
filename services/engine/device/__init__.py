"""The device that a model runs on: its choice, its memory, its failures."""

"""Measures how 8-bit weights and 8-bit KV caches change the answers of the embedded models."""

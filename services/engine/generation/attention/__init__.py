"""Attention over the paged KV cache.

`batch` describes the rows of a forward, `backend` is the interface and its connection to transformers, and the other
files are implementations.
"""

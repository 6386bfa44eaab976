"""Attention over the paged cache: `batch` (what a forward needs to know), `backend` (the interface and its way into
transformers), and one file per implementation.
"""

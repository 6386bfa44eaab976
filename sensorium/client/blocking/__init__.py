"""The client that blocks: ordinary calls and iterators."""

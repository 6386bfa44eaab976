"""Tensor parallelism by transformers' own plan of a model: each rank is a process that holds a part of the weights.

The first rank serves requests. It sends the rows of each step to the other ranks, and all run the same forward, each
with its part of the weights and its own heads' pages of the KV cache. Without GPUs the ranks are processes on the CPU,
so that tests run anywhere.
"""

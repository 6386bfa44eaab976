"""Replaces modules of a model with fused ones (several operations in one call of the native library) that give equal
results.

`survey` records the inputs and outputs of modules; `norm`, `mlp`, `attention`, `decoder` and their like build a fused
module from the model's own; `substitution` compares both and puts the fused one into the model if the results are
equal.
"""

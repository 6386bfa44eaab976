"""Operations in C for the CPU: linear layers, norms, rotary embeddings, attention. Compiled for the machine at first
use.

`library` compiles and loads it, `arena` allocates weights, `linear` is a linear layer. Without a C compiler, torch
computes everything.
"""

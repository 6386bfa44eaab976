"""Weights of 8 bits, which halve the memory that a decode step reads on a GPU. Their kernels are in `fusion/triton`."""

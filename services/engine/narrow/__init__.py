"""Weights of 8 bits, which halve what a decode step reads of a GPU's memory. Their kernels are in `fusion/triton`."""

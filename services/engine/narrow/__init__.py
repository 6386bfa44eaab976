"""Weights of 8 bits, for GPUs: half of what a decode step reads. Kernels for them are in `fusion/triton`."""

"""Compiles the kernels of a GPU's steps without a GPU, and reports the resources and instructions that they use."""

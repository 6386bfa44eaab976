"""Attention on a GPU, in Triton: `plan` (a step's rows as kernels read them), `backend`, and one file per kernel.

`TRITON_INTERPRET=1`, set before these modules are imported, runs the kernels on the CPU.
"""

"""The same for a GPU: what stands between a model's large products, in Triton, and products of a single row.

`TRITON_INTERPRET=1`, set before these are imported, runs the kernels on the CPU.
"""

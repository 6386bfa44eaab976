"""Fused modules for a GPU in Triton: everything between a model's large products, and products of one or a few rows.

`TRITON_INTERPRET=1`, set before these modules are imported, runs the kernels on the CPU.
"""

import os

# Keep fused multiply-add: Triton has it on by default up to 3.9, and warns that this changes in 3.10.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")

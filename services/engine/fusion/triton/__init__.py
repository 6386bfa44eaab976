"""The same for a GPU: what stands between a model's large products, in Triton, and products of a single row.

`TRITON_INTERPRET=1`, set before these are imported, runs the kernels on the CPU.
"""

import os

# Multiplied and added at once, which Triton does by itself up to 3.9 and warns that it will not from 3.10 on.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")

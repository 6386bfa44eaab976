"""Whether a model's results are numbers. After an overflow, in float16 say, they are infinite or NaN."""

import math

from torch import Tensor


def are_numbers(values: Tensor, over: int | None = None) -> bool:
    """Returns whether none of the values, which lie on the CPU, is NaN or infinite.

    `over` is the dimension over which a softmax is taken of them. A model may rule something out there with minus
    infinity, but not everything: that gives NaN.
    """
    if not values.is_floating_point() or not values.numel():
        return True
    if all(math.isfinite(edge) for edge in values.aminmax()):  # each is NaN if any value is; copies nothing
        return True
    return over is not None and bool(values.amax(over).isfinite().all())

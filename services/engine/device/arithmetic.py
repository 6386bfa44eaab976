"""What a processor computes with by itself."""

import torch


def emulated(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether torch only emulates `dtype` on `device`: a convolution takes ten times as long then, or more."""
    if device.type != "cpu":
        return False
    if dtype is torch.bfloat16:
        return not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype is torch.float16 and not torch.ops.mkldnn._is_mkldnn_fp16_supported()

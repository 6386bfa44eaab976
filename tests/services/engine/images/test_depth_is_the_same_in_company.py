from types import SimpleNamespace
from typing import Any

import torch
from transformers import BeitConfig, ZoeDepthConfig, ZoeDepthForDepthEstimation

from services.engine.images.depth import DepthMaps

SIDE = 32
HEADS = [
    {"n_bins": 8, "min_depth": 0.001, "max_depth": 10.0, "name": "rooms"},
    {"n_bins": 8, "min_depth": 0.001, "max_depth": 80.0, "name": "roads"},
]


def two_headed() -> Any:
    backbone = BeitConfig(
        image_size=SIDE, patch_size=8, num_hidden_layers=4, hidden_size=16, intermediate_size=32, num_attention_heads=2,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False,
    )  # fmt: skip
    config = ZoeDepthConfig(
        backbone_config=backbone, neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, bottleneck_features=8,
        num_relative_features=4, bin_configurations=HEADS, bin_embedding_dim=8, num_attractors=[4, 2, 2, 1],
        num_patch_transformer_layers=4, patch_transformer_hidden_size=128, patch_transformer_intermediate_size=16,
        patch_transformer_num_attention_heads=2,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model: Any = ZoeDepthForDepthEstimation(config).eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    return model


@torch.inference_mode()
def test_no_image_chooses_the_head_of_another() -> None:
    model = two_headed()
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    images[1] += 2.0
    leanings = [model(pixel_values=image[None]).domain_logits[0] for image in images]
    model.metric_head.mlp_classifier.linear2.bias -= (leanings[0] + leanings[1]) / 2  # each has a head of its own now
    loaded: Any = SimpleNamespace(model=model, processor=None, config=model.config)
    alone = [model(pixel_values=image[None]).predicted_depth[0] for image in images]
    for order in ([0, 1], [1, 0], [1, 0, 0]):
        found = DepthMaps(loaded).compute({"pixel_values": images[order]})["predicted_depth"]
        assert torch.allclose(found, torch.stack([alone[i] for i in order]), rtol=1e-4)
    both = model(pixel_values=images).predicted_depth
    assert not torch.allclose(both, torch.stack(alone), rtol=0.1), "the model's own batch should mix the two"

"""Recipe of open-detector: an OWL-ViT, starting from image-text's towers, that finds figures by text labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForZeroShotObjectDetection,
    AutoTokenizer,
    CLIPModel,
    OwlViTConfig,
    OwlViTForObjectDetection,
    OwlViTImageProcessorPil,
    OwlViTProcessor,
)

from models.recipes.vision.boxes import centred, giou_loss
from models.recipes.vision.captions import PAIRS, varied
from models.recipes.vision.drawing import COLOURS, KINDS, Figure, Scene, draw_scene
from models.recipes.vision.items import Item
from models.recipes.vision.measures import Found, detection_figures
from models.recipes.vision.recipe import Recipe, Served, Trained
from models.recipes.vision.training import Plan, as_pixels, fit, seeded

SIDE, PATCH = 48, 4
CELLS = SIDE // PATCH
PLAN = Plan(steps=3000, batch=12, rate=1e-3)
DRAWN = 6000
HELD_OUT_SEED = 1030
THRESHOLD = 0.4
STATEMENTS = (*PAIRS, *KINDS, *COLOURS)


def scenes(seed: int, count: int) -> list[Scene]:
    """Scenes of one to four figures that do not touch."""
    rng = np.random.default_rng(seed)
    return [draw_scene(rng, SIDE, int(rng.integers(1, 5)), (6, 10)) for _ in range(count)]


def new_network(clip: CLIPModel) -> OwlViTForObjectDetection:
    """A detector that begins with the towers of a CLIP; the places of its patches are stretched to the larger image."""
    text, vision = clip.config.text_config, clip.config.vision_config
    tower = {"hidden_size": 96, "intermediate_size": 192, "num_attention_heads": 4}
    network = OwlViTForObjectDetection(OwlViTConfig(
        text_config=tower | {
            "num_hidden_layers": text.num_hidden_layers, "vocab_size": text.vocab_size,
            "max_position_embeddings": text.max_position_embeddings, "bos_token_id": text.bos_token_id,
            "eos_token_id": text.eos_token_id, "pad_token_id": text.pad_token_id,
        },
        vision_config=tower | {
            "num_hidden_layers": vision.num_hidden_layers, "image_size": SIDE, "patch_size": PATCH,
        },
        projection_dim=96,
    ))  # fmt: skip
    weights = {k.replace("pre_layrnorm", "pre_layernorm"): v for k, v in clip.state_dict().items()}
    places = "vision_model.embeddings.position_embedding.weight"
    weights[places] = stretched(weights[places])
    unknown = network.owlvit.load_state_dict(weights, strict=False)
    assert not unknown.unexpected_keys and not unknown.missing_keys, unknown
    network.class_head.dense0.weight.data.copy_(weights["visual_projection.weight"])
    calmed(network)
    return network


def calmed(network: OwlViTForObjectDetection) -> None:
    """Initializes the heads to predict, at each patch, a box of a third of the image and a score near 0.

    With the library's initialization, scores are large, and the loss of thousands of background patches dominates.
    """
    for layer in (network.box_head.dense0, network.box_head.dense1):
        nn.init.xavier_uniform_(layer.weight)
    for layer in (network.class_head.logit_shift, network.class_head.logit_scale, network.box_head.dense2):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    network.class_head.logit_shift.bias.data.fill_(-1.2)
    network.class_head.logit_scale.bias.data.fill_(5.0)
    network.box_head.dense2.bias.data[2:] = 1.6


def stretched(places: Tensor) -> Tensor:
    """Embeddings of the class token and of a square of patches, for a larger square."""
    side = int((len(places) - 1) ** 0.5)
    grid = places[1:].T.reshape(1, -1, side, side)
    larger = nn.functional.interpolate(grid, (CELLS, CELLS), mode="bilinear", align_corners=False)
    return torch.cat([places[:1], larger[0].flatten(1).T])


def truth(figure: Figure) -> list[bool]:
    """Which statements are true of a figure."""
    words = (figure.words, figure.colour, figure.kind)
    return [statement in words for statement in STATEMENTS]


def cell_of(figure: Figure) -> int:
    """The index of the patch with the centre of the figure's box, which has to detect the figure."""
    left, top, right, bottom = figure.box
    return int((top + bottom) / 2 // PATCH) * CELLS + int((left + right) / 2 // PATCH)


def detection_loss(network: OwlViTForObjectDetection, pixels: Tensor, texts: Any, drawn: list[Scene]) -> Tensor:
    """The loss: the central patch of a figure matches its true statements; every patch on a figure predicts its box."""
    patches = network.image_embedder(pixel_values=pixels)[0].flatten(1, 2)
    words = network.owlvit.get_text_features(**texts).pooler_output
    logits = network.class_predictor(patches, words.expand(len(patches), -1, -1))[0]
    boxes = network.box_predictor(patches, patches.unflatten(1, (CELLS, CELLS)))
    wanted = torch.zeros_like(logits)
    owned: list[tuple[int, int]] = []
    places: list[tuple[float, ...]] = []
    for i, scene in enumerate(drawn):
        for figure in scene.figures:
            wanted[i, cell_of(figure)] = torch.tensor(truth(figure), dtype=torch.float32)
            on = np.flatnonzero(figure.mask[PATCH // 2 :: PATCH, PATCH // 2 :: PATCH])
            owned += [(i, int(cell)) for cell in {*on.tolist(), cell_of(figure)}]
            places += [figure.box] * (len(owned) - len(places))
    guessed, true = boxes[tuple(torch.tensor(owned).T)], centred(torch.tensor(places) / SIDE)
    figures = sum(len(scene.figures) for scene in drawn)
    box_loss = 5 * nn.functional.l1_loss(guessed, true, reduction="none").sum(-1).mean() + 2 * giou_loss(guessed, true)
    return 2 * focal_loss(logits, wanted) / figures + box_loss


def focal_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Summed focal loss: cross entropy that down-weights easy patches."""
    crossed = nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    missed = (wanted - logits.sigmoid()).abs()
    return (crossed * missed**2 * (0.75 * wanted + 0.25 * (1 - wanted))).sum()


def train(root: Path) -> Trained:
    """Trains on scenes, each time asked for all that can be said."""
    seeded(PLAN.seed)
    clip = CLIPModel.from_pretrained(root / "image-text", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(root / "image-text")
    network, drawn = new_network(clip), scenes(PLAN.seed, DRAWN)

    def loss_at(rng: np.random.Generator) -> Tensor:
        chosen = [drawn[i] for i in rng.integers(DRAWN, size=PLAN.batch)]
        texts = tokenizer([varied(rng, s) for s in STATEMENTS], padding=True, return_tensors="pt")
        return detection_loss(network, as_pixels(np.stack([s.pixels for s in chosen]), rng, 0.08), texts, chosen)

    minutes = fit(network, PLAN, loss_at)
    processor = OwlViTImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )  # fmt: skip
    return Trained(network, (OwlViTProcessor(processor, tokenizer), processor), minutes, PLAN.told)


def draw(count: int) -> list[Item]:
    """Held-out scenes with captions and boxes."""
    return [
        Item(s.image, {"labels": [f.words for f in s.figures], "boxes": [f.box for f in s.figures]})
        for s in scenes(HELD_OUT_SEED, count)
    ]


@torch.inference_mode()
def detections(served: Served, items: list[Item], labels: tuple[str, ...]) -> list[list[Found]]:
    """What the model finds when it is asked for a photo of each label."""
    processor, found = OwlViTProcessor(served.images, served.tokenizer), []
    for at in range(0, len(items), 25):
        images = [item.image for item in items[at : at + 25]]
        texts = [[f"a photo of a {label}" for label in labels]] * len(images)
        outputs = served.network(**processor(text=texts, images=images, return_tensors="pt"))
        sizes = torch.tensor([image.size[::-1] for image in images])
        for one in processor.post_process_grounded_object_detection(outputs, threshold=0.02, target_sizes=sizes):
            names = [labels[i] for i in one["labels"].tolist()]
            found.append(list(map(Found, names, one["boxes"].tolist(), one["scores"].tolist())))
    return found


def expected(item: Item, labels: tuple[str, ...]) -> list[Found]:
    """The figures of an item under the labels asked for: the caption itself or a word of it."""
    pairs = zip(item.expected["labels"], item.expected["boxes"], strict=True)
    return [Found(label, box) for said, box in pairs for label in labels if label == said or label in said.split()]


def measure(served: Served, items: list[Item]) -> dict[str, float]:
    """Figures for requests with all pairs, all kinds and all colours."""
    figures = {}
    for name, labels in (("pairs", PAIRS), ("kinds", KINDS), ("colours", tuple(COLOURS))):
        found, wanted = detections(served, items, labels), [expected(item, labels) for item in items]
        figures |= {f"{name}, {k}": v for k, v in detection_figures(found, wanted, THRESHOLD).items()}
    return figures


RECIPE = Recipe(
    folder="open-detector", auto=AutoModelForZeroShotObjectDetection, train=train, draw=draw, measure=measure,
    measured=300, shipped=40, with_text=True,
    told={"drawn": DRAWN, "threshold": THRESHOLD},
)  # fmt: skip

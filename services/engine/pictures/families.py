"""The families of image-to-text models, by how their decoder gets the picture."""

from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from services.engine.pictures.model import PictureModel


class EncoderDecoder(PictureModel):
    """An image encoder combined with a text decoder: ViT with GPT-2, TrOCR, Donut."""

    @property
    def generator(self) -> PreTrainedModel:
        """See PictureModel."""
        return self.model

    @property
    def decoder(self) -> PreTrainedModel:
        """See PictureModel."""
        return self.model.decoder

    @property
    def starts(self) -> tuple[int, ...]:
        """See PictureModel."""
        own = self.model.generation_config
        return (own.bos_token_id if own.decoder_start_token_id is None else own.decoder_start_token_id,)

    def begun(self, prompt: list[int]) -> list[int]:
        """See PictureModel. As in `generate`, a prompt has no second start token, and Donut's has none but its own."""
        whole = prompt and (prompt[0] in self.starts or "donut" in self.model.encoder.config.model_type)
        return prompt if whole else super().begun(prompt)

    def arguments(self, inputs: dict[str, Tensor], prompt: Tensor) -> dict[str, Tensor]:
        """See PictureModel."""
        return {**inputs, "decoder_input_ids": prompt}

    def generator_arguments(self, features: Tensor) -> dict[str, Any]:
        """See PictureModel."""
        return {"encoder_outputs": BaseModelOutput(last_hidden_state=features.unsqueeze(0))}  # type: ignore[arg-type]

    def states(self, features: Tensor) -> Tensor:
        """See PictureModel."""
        project = getattr(self.model, "enc_to_dec_proj", None)
        return features.unsqueeze(0) if project is None else project(features.unsqueeze(0))

    def encode(self, inputs: dict[str, Tensor]) -> Tensor:
        """See PictureModel."""
        return self.model.encoder(pixel_values=self._on_device(inputs["pixel_values"]))[0]


class Blip(PictureModel):
    """BLIP for captions: a decoder with cross-attention to a vision tower, which continues a prompt."""

    @property
    def generator(self) -> PreTrainedModel:
        """See PictureModel."""
        return self.model.text_decoder

    @property
    def starts(self) -> tuple[int, ...]:
        """See PictureModel."""
        return (self.model.config.text_config.bos_token_id,)

    @property
    def ends(self) -> frozenset[int]:
        """See PictureModel."""
        return frozenset({self.model.config.text_config.sep_token_id})

    def arguments(self, inputs: dict[str, Tensor], prompt: Tensor) -> dict[str, Tensor]:
        """See PictureModel."""
        # BLIP's `generate` drops the last token, because its tokenizer appends an end token.
        return {**inputs, "input_ids": torch.nn.functional.pad(prompt, (0, 1))}

    def generator_arguments(self, features: Tensor) -> dict[str, Any]:
        """See PictureModel."""
        states = features.unsqueeze(0)
        mask = torch.ones(states.shape[:-1], dtype=torch.long, device=states.device)
        return {"encoder_hidden_states": states, "encoder_attention_mask": mask}

    def encode(self, inputs: dict[str, Tensor]) -> Tensor:
        """See PictureModel."""
        return self.model.vision_model(pixel_values=self._on_device(inputs["pixel_values"]))[0]


class BlipAnswerer(Blip):
    """BLIP for questions: a text encoder reads question and image, and the decoder attends to its states."""

    reads_question = True

    def inputs(self, image: Image.Image, question: str) -> dict[str, Tensor]:
        """See PictureModel."""
        ids = self.tokenizer(question)["input_ids"]
        return {**super().inputs(image, question), "question": torch.tensor([ids])}

    def token_count(self, inputs: dict[str, Tensor]) -> int:
        """See PictureModel."""
        return inputs["question"].shape[1]

    def most_tokens(self, context: int) -> int:
        """See PictureModel."""
        return context

    def arguments(self, inputs: dict[str, Tensor], prompt: Tensor) -> dict[str, Tensor]:
        """See PictureModel. The prompt holds only the start token."""
        assert prompt.shape[1] == len(self.starts)
        return {"pixel_values": inputs["pixel_values"], "input_ids": inputs["question"]}

    def encode(self, inputs: dict[str, Tensor]) -> Tensor:
        """See PictureModel."""
        seen = super().encode(inputs)
        if "question" not in inputs:
            return seen
        mask = torch.ones(seen.shape[:-1], dtype=torch.long, device=seen.device)
        question = self._on_device(inputs["question"])
        return self.model.text_encoder(
            input_ids=question, encoder_hidden_states=seen, encoder_attention_mask=mask, return_dict=False
        )[0]


class Git(PictureModel):
    """GIT: a decoder that has the image's patches before its tokens. Its features are the pixels themselves."""

    @property
    def generator(self) -> PreTrainedModel:
        """See PictureModel."""
        return self.model

    @property
    def decoder(self) -> None:
        """See PictureModel."""

    @property
    def starts(self) -> tuple[int, ...]:
        """See PictureModel."""
        return (self.model.config.bos_token_id,)

    def arguments(self, inputs: dict[str, Tensor], prompt: Tensor) -> dict[str, Tensor]:
        """See PictureModel."""
        return {**inputs, "input_ids": prompt}

    def generator_arguments(self, features: Tensor) -> dict[str, Any]:
        """See PictureModel."""
        return {"pixel_values": features.unsqueeze(0)}

    def encode(self, inputs: dict[str, Tensor]) -> Tensor:
        """Returns the pixels unchanged, `[pictures, channels, height, width]`."""
        return self._on_device(inputs["pixel_values"])

    def _tokens_of(self, pixels: Tensor) -> int:
        return self.model.git.image_encoder(pixels).last_hidden_state.shape[1]

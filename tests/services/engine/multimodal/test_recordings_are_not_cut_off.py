"""Gemma 4's extractor has its limit among the arguments of its call, not among its settings."""

import numpy as np
import pytest
import transformers
from packaging.version import Version
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name
from transformers.models.auto.processing_auto import processor_class_from_name

from services.engine.audio.extractors import show_feature_extractors
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.processor import MediaProcessor, MediumRefused
from services.engine.multimodal.processor_class import without_video
from tests.own_multimodal import recording
from tests.tiny.media_readers import RATE
from tests.tiny.multimodal_models import extended

_NAMED = {
    "image_token": "<image>", "boi_token": "<boi>", "eoi_token": "<eoi>", "audio_token": "<audio>",
    "boa_token": "<boa>", "eoa_token": "<eoa>",
}  # fmt: skip


@pytest.mark.skipif(Version(transformers.__version__) < Version("5.24"), reason="served with later ones only")
def test_what_is_longer_than_gemma_4_hears_is_refused() -> None:
    show_feature_extractors()
    kind = without_video(processor_class_from_name("Gemma4Processor"))
    tokenizer = extended(list(_NAMED.values()), _NAMED)
    seeing = get_image_processor_class_from_name("Gemma4ImageProcessorPil")
    assert seeing is not None
    hearing = transformers.Gemma4AudioFeatureExtractor()
    own = kind(image_processor=seeing(), feature_extractor=hearing, tokenizer=tokenizer, video_processor=None)
    config = CONFIG_MAPPING["gemma4"](
        audio_config={}, vision_config={}, image_token_id=own.image_token_id, audio_token_id=own.audio_token_id
    )
    media = MediaProcessor(own, config)
    assert media.heard_seconds == 30
    assert media.read(MediaKind.AUDIO, np.zeros(30 * RATE, np.float32), b"").token_count == 750
    with pytest.raises(MediumRefused, match=r"lasts 30\.5 s, of which the model hears 30$"):
        media.read(MediaKind.AUDIO, recording(1, 30.5), b"")

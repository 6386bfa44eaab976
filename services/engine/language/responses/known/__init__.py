"""The formats that published chat templates tell models to answer in."""

from services.engine.language.responses.known.deepseek import DEEPSEEK_V3, DEEPSEEK_V3_1
from services.engine.language.responses.known.gpt_oss import GPT_OSS
from services.engine.language.responses.known.known_format import KnownFormat
from services.engine.language.responses.known.mistral import MISTRAL, MISTRAL_LIST
from services.engine.language.responses.known.named_tokens import GEMMA_4, KIMI_K2
from services.engine.language.responses.known.plain_marks import HERMES, LLAMA_3, THINKING
from services.engine.language.responses.known.token_lists import GRANITE_3, LFM_2, NEMOTRON, PHI_4_MINI
from services.engine.language.responses.known.xml_calls import GLM_4, MINIMAX_M2, QWEN_3_CODER, SEED_OSS

KNOWN_FORMATS = (
    GPT_OSS,
    GEMMA_4,
    DEEPSEEK_V3_1,
    DEEPSEEK_V3,
    KIMI_K2,
    MINIMAX_M2,
    MISTRAL,
    MISTRAL_LIST,
    LFM_2,
    NEMOTRON,
    SEED_OSS,
    GRANITE_3,
    PHI_4_MINI,
    GLM_4,
    QWEN_3_CODER,
    HERMES,
    LLAMA_3,
    THINKING,
)
"""In the order in which they are tried: what another's marks are a part of comes later."""

__all__ = ["KNOWN_FORMATS", "KnownFormat"]

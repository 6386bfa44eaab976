"""The settings, the limits and the description of a generation engine."""

from transformers import PreTrainedTokenizerBase

from sensorium.v1 import models_pb2 as pb
from services.engine.admission import QueueLimits
from services.engine.generation.attention.cpu import PAGE_SIZE
from services.engine.generation.building.build import BuiltEngine, EngineSettings
from services.engine.generation.requests.resolution import GenerationLimits
from services.engine.generation.requests.validation import MAX_LOGPROB_COUNT
from services.engine.language.chat_template import ChatTemplate
from services.engine.language.prompting import PromptEncoder
from services.engine.language.responses.formats import ResponseFormat
from services.engine.loading import LoadedModel
from services.generation.response_conversion import logprob_bytes
from services.generation.settings import GenerationSettings


def engine_settings(settings: GenerationSettings, media_cache_mib: int = 0) -> EngineSettings:
    """Returns the engine's part of the settings. Without a cache, encoded media are kept as long as their requests."""
    return EngineSettings(
        max_sequences=settings.max_sequences,
        prefill_tokens=settings.prefill_tokens,
        decode_slowdown=settings.decode_slowdown,
        cache_bytes=None if settings.cache_mib is None else settings.cache_mib << 20,
        narrow_cache=settings.kv_cache_dtype == "fp8_e4m3",
        memory_share=settings.gpu_memory_utilization,
        share_prefixes=settings.prefix_cache,
        unread_tokens=settings.max_unread_tokens,
        messages_per_second=settings.max_messages_per_second,
        queue=QueueLimits(settings.max_queued_requests, settings.max_queued_tokens),
        media_cache_bytes=media_cache_mib << 20,
    )


def generation_limits(
    loaded: LoadedModel, built: BuiltEngine, encoder: PromptEncoder, settings: GenerationSettings
) -> GenerationLimits:
    """Returns the limits of the engine and of a message."""
    return GenerationLimits(
        built.context_tokens,
        loaded.vocabulary_size,
        max_sequences=built.concurrency,
        cache_pages=built.cache_pages,
        page_size=PAGE_SIZE,
        # The rest is for the rendered prompt and the outputs.
        prompt_logprob_bytes=settings.message_bytes * 3 // 4,
        token_logprob_bytes=logprob_bytes(encoder.longest_texts(MAX_LOGPROB_COUNT)),
        source_tokens=built.source_tokens,
        source_vocabulary_size=loaded.source_vocabulary_size,
        shares_pages=not built.serial,
        no_lookup=built.no_lookup,
    )


def describe(info: pb.ModelInfo, loaded: LoadedModel, built: BuiltEngine, settings: GenerationSettings) -> None:
    """Fills in ModelService's description of the model and its engine."""
    info.identity.revision = loaded.revision
    info.limits.context_token_count = built.source_tokens or built.context_tokens
    info.limits.queued_token_count = settings.max_queued_tokens
    info.limits.vocabulary_token_count = loaded.vocabulary_size
    info.architecture = loaded.architecture
    info.dtype = str(loaded.model.dtype).removeprefix("torch.")
    info.quantization = loaded.quantization
    info.device = str(loaded.device)
    info.parameter_count, info.rounded_parameter_count = loaded.parameter_count, loaded.rounded_parameter_count
    info.concurrency = built.concurrency
    info.execution_path = pb.EXECUTION_PATH_SERIAL if built.serial else pb.EXECUTION_PATH_BATCHED
    info.execution_path_reason = built.reason
    info.prompt_lookup = not built.no_lookup
    if built.memory is not None:
        parts, plan = built.memory.parts, info.memory
        plan.total_bytes, plan.others_bytes, plan.weights_bytes = parts["total"], parts["others"], parts["weights"]
        plan.steps_bytes, plan.graphs_bytes, plan.media_bytes = parts["steps"], parts["graphs"], parts["media"]
        plan.cache_bytes, plan.reserve_bytes = parts["cache"], parts["reserve"]
        plan.cache_token_count = built.memory.cache_tokens
        plan.cache_dtype = settings.kv_cache_dtype if settings.kv_cache_dtype != "auto" else info.dtype
    info.rank_bytes[:] = built.rank_bytes


def describe_chat(info: pb.ModelInfo, tokenizer: PreTrainedTokenizerBase, known: ResponseFormat | None) -> None:
    """Fills in what conversations may ask for; `known` is the format of the model's answers."""
    info.response_format = known.name if known else ""
    info.template_variables[:] = ChatTemplate(tokenizer).variables

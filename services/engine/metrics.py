"""Every metric of the model side, declared once. Buckets hold the edges that service-level objectives use."""

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sensorium.buckets import DURATION_SECONDS, FIRST_TOKEN_SECONDS, PER_TOKEN_SECONDS
from services.engine.admission import Admission
from services.engine.batching.job import BatchTimes
from services.engine.device.faults import REASONS
from services.engine.generation.requests.request import FinishReason, GenerationTimes

BATCH_BUCKETS = tuple(float(2**i) for i in range(11))
REAL_TIME_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 5)
ENDS = (
    *(reason.value for reason in FinishReason),
    "completed",
    "cancelled",
    "deadline_exceeded",
    "out_of_memory",
    "invalid_argument",
    "all_forbidden",
    "error",
)
"""How a request ends: as generations do, as anything else does that was answered, or early."""

PLANNED = ("total", "others", "weights", "steps", "graphs", "media", "cache", "reserve")
"""What memory is meant for; see `MemoryPlan`."""

Exemplar = dict[str, str] | None
"""What a measurement can be found by: see `sensorium.call_record`."""


class EngineMetrics:
    """The metrics of one model. All are safe to touch from the engine's thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._declare_gauges(registry)
        self._declare_counters(registry)
        self._declare_histograms(registry)
        # A series that begins at its first error has no rate there.
        for end in ENDS:
            self.requests.labels(end)
        for direction in ("input", "output"):
            self.audio_seconds.labels(direction)
        for kind in ("allocated", "peak", "reserved", "total"):
            self.gpu_memory_bytes.labels(kind)
        for reason in REASONS:
            self.faults.labels(reason)
        for part in PLANNED:
            self.memory_plan_bytes.labels(part)
        self.ranks.set(1)

    def _declare_gauges(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"sensorium_engine_{name}", text, labels, registry=registry)

        self.requests_running = gauge(
            "requests_running",
            "Work in progress: sequences with a row in the batch, items in the batch, or texts being spoken.",
        )
        self.requests_waiting = gauge(
            "requests_waiting", "Accepted requests that no step has worked on yet, or that wait to be resumed."
        )
        self.tokens_waiting = gauge(
            "tokens_waiting", "Input of the waiting requests, in tokens, images or audio frames."
        )
        self.kv_cache_usage = gauge("kv_cache_usage_ratio", "Share of KV cache pages in use, from 0 to 1.")
        self.live_streams = gauge("live_streams", "Open streams of live audio.")
        self.model_load_seconds = gauge("model_load_seconds", "Duration of each phase of loading.", "phase")
        self.model_state = gauge("model_state", "State of the model, as a number of the contract's enum ModelState.")
        self.gpu_memory_bytes = gauge(
            "gpu_memory_bytes", "GPU memory by kind: allocated, peak, reserved, total; 0 on a CPU.", "kind"
        )

        self.ranks = gauge("ranks", "Running processes of a tensor-parallel model; 1 without tensor parallelism.")
        self.memory_plan_bytes = gauge(
            "memory_plan_bytes",
            "Planned use of the device's memory, measured at load; 0 if not measured.",
            "part",
        )

    def _declare_counters(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"sensorium_engine_{name}", text, labels, registry=registry)

        self.requests = counter("requests", "Ended requests, by finish reason.", "finish_reason")
        self.prompt_tokens = counter("prompt_tokens", "Input tokens of answered requests.")
        self.generation_tokens = counter("generation_tokens", "Generated tokens.")
        self.proposed_tokens = counter("proposed_tokens", "Tokens proposed by prompt lookup.")
        self.accepted_tokens = counter("accepted_tokens", "Tokens proposed by prompt lookup that the model accepted.")
        self.images = counter("images", "Images of answered requests.")
        self.audio_seconds = counter(
            "audio_seconds", "Audio of answered requests: read (input) or synthesized (output).", "direction"
        )
        self.prefix_query_tokens = counter("prefix_cache_query_tokens", "Prompt tokens looked up in the prefix cache.")
        self.prefix_hit_tokens = counter("prefix_cache_hit_tokens", "Prompt tokens found in the prefix cache.")
        self.media_queries = counter(
            "media_cache_queries", "Images and recordings in prompts, looked up in the media cache."
        )
        self.media_hits = counter(
            "media_cache_hits", "Lookups in the media cache whose features were cached or already being computed."
        )
        self.steps = counter("steps", "Steps of the model.")
        self.busy_seconds = counter(
            "busy_seconds", "Time the engine spent working, including the model's forward passes."
        )
        self.forward_seconds = counter("forward_seconds", "Time spent in the model's forward passes.")
        self.telling_seconds = counter(
            "telling_seconds",
            "Time the first rank spent sending steps to the other ranks; 0 without tensor parallelism.",
        )
        self.preemptions = counter("preemptions", "Sequences preempted because no KV cache page was free.")
        self.faults = counter(
            "faults",
            "Faults that stopped the model, by reason; the process then exits and must be restarted.",
            "reason",
        )
        self.out_of_memory = counter("oom", "Steps that ran out of device memory.")

    def _declare_histograms(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, buckets=buckets, registry=registry)

        self.batch_size = histogram("sensorium_engine_batch_size", "Rows per step.", BATCH_BUCKETS)
        self.step_seconds = histogram("sensorium_engine_step_seconds", "Duration of a step.", PER_TOKEN_SECONDS)
        self.queue_seconds = histogram(
            "sensorium_engine_queue_seconds", "Time from accepting a request to its first step.", DURATION_SECONDS
        )
        self.prefill_seconds = histogram(
            "sensorium_engine_prefill_seconds",
            "Time from the first step of a request to its first token.",
            DURATION_SECONDS,
        )
        self.decode_seconds = histogram(
            "sensorium_engine_decode_seconds", "Time from the first token of a request to its end.", DURATION_SECONDS
        )
        self.real_time_factor = histogram(
            "sensorium_engine_real_time_factor",
            "Compute time of a request per second of its audio.",
            REAL_TIME_BUCKETS,
        )
        self.request_duration = histogram(
            "gen_ai_server_request_duration_seconds", "Time from accepting a request to its end.", DURATION_SECONDS
        )
        self.first_token = histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Time from accepting a request to its first token.",
            FIRST_TOKEN_SECONDS,
        )
        self.per_token = histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Mean time per output token of a request, after the first.",
            PER_TOKEN_SECONDS,
        )

    @contextmanager
    def loading(self, phase: str) -> Generator[None]:
        """Measures a phase of loading, which is what is done within."""
        began = time.monotonic()
        yield
        self.model_load_seconds.labels(phase).set(time.monotonic() - began)

    def watch_queue(self, admission: Admission) -> None:
        """Lets every scrape see what waits at that moment."""
        self.requests_waiting.set_function(lambda: admission.requests)
        self.tokens_waiting.set_function(lambda: admission.tokens)

    def planned(self, parts: Mapping[str, int]) -> None:
        """Tells what the memory of the device is meant for, in bytes by part."""
        for part, size in parts.items():
            self.memory_plan_bytes.labels(part).set(size)

    def admitted(self, input_tokens: int, cached_tokens: int) -> None:
        """Counts what the prefix cache spared a request that begins."""
        self.prefix_query_tokens.inc(input_tokens)
        self.prefix_hit_tokens.inc(cached_tokens)

    def looked_up(self, known: bool) -> None:
        """Counts an image or a recording in a prompt."""
        self.media_queries.inc()
        self.media_hits.inc(known)

    def heard(self, direction: str, seconds: float, compute: float) -> None:
        """Counts the audio of a request that was answered; `direction` is `input` or `output`."""
        self.audio_seconds.labels(direction).inc(seconds)
        if seconds > 0:
            self.real_time_factor.observe(compute / seconds)

    def batched(self, times: BatchTimes, input_tokens: int, exemplar: Exemplar = None) -> None:
        """Counts a request that was answered at once, in batches."""
        self.requests.labels("completed").inc()
        self.prompt_tokens.inc(input_tokens)
        self.queue_seconds.observe(times.queue, exemplar)
        self.request_duration.observe(times.total, exemplar)

    def completed(
        self, reason: str, times: GenerationTimes, input_tokens: int, output_tokens: int, exemplar: Exemplar = None
    ) -> None:
        """Counts a request that ran to its end."""
        self.requests.labels(reason).inc()
        self.prompt_tokens.inc(input_tokens)
        after_first = times.total - times.time_to_first_output
        self.queue_seconds.observe(times.queue, exemplar)
        self.prefill_seconds.observe(times.time_to_first_output - times.queue, exemplar)
        self.decode_seconds.observe(after_first, exemplar)
        self.request_duration.observe(times.total, exemplar)
        self.first_token.observe(times.time_to_first_output, exemplar)
        if output_tokens > 1:
            self.per_token.observe(after_first / (output_tokens - 1), exemplar)

"""Rows of the model server's board about each modality."""

from k8s.monitoring.board import Row
from k8s.monitoring.boards.selection import SERVER
from k8s.monitoring.panel import Panel, Query, Step
from k8s.monitoring.promql import mean, quantile, rate, total

_VISION, _SPEECH, _MULTIMODAL = (f'{SERVER}, modality="{name}"' for name in ("vision", "speech", "multimodal"))

GENERATION = Row(
    "Text: generation, in every service that generates",
    [
        Panel(
            title="Tokens",
            description="Generated tokens and prompt tokens, per second.",
            unit="count:tok/s",
            queries=[
                Query(rate("sensorium_engine_generation_tokens_total", SERVER, "pool"), "{{pool}} generated"),
                Query(rate("sensorium_engine_prompt_tokens_total", SERVER, "pool"), "{{pool}} read"),
            ],
        ),
        Panel(
            title="Prefill and decode, p95",
            description="From a request's first step until its first token, and from there until its end.",
            queries=[
                Query(quantile(0.95, "sensorium_engine_prefill_seconds", SERVER, "pool"), "{{pool}} prefill"),
                Query(quantile(0.95, "sensorium_engine_decode_seconds", SERVER, "pool"), "{{pool}} decode"),
            ],
            unit="s",
            exemplars=True,
        ),
        Panel(
            title="First token and pace, p95",
            description="As the engine sees them: without the gateway's queue and the way to the caller.",
            queries=[
                Query(
                    quantile(0.95, "gen_ai_server_time_to_first_token_seconds", f'{SERVER}, model=""', "pool"),
                    "{{pool}} first",
                ),
                Query(
                    quantile(0.95, "gen_ai_server_time_per_output_token_seconds", f'{SERVER}, model=""', "pool"),
                    "{{pool}} each",
                ),
            ],
            unit="s",
        ),
        Panel(
            title="Cache in use",
            description="Share of the KV cache's pages. Near 1, sequences are preempted and computed again.",
            queries=[
                Query(
                    f"max by (pool, instance) (sensorium_engine_kv_cache_usage_ratio{{{SERVER}}})",
                    "{{pool}} {{instance}}",
                )
            ],
            unit="percentunit",
            highest=1,
            steps=[Step(0.9, "orange")],
        ),
        Panel(
            title="Preemptions",
            description="Sequences preempted because no page of the KV cache was free.",
            queries=[Query(rate("sensorium_engine_preemptions_total", SERVER, "pool"), "{{pool}}")],
            unit="cps",
        ),
        Panel(
            title="Prefix cache hits",
            description="Share of prompt tokens found in the prefix cache, and not computed again.",
            queries=[
                Query(
                    f"{rate('sensorium_engine_prefix_cache_hit_tokens_total', SERVER, 'pool')}\n/\n"
                    f"({rate('sensorium_engine_prefix_cache_query_tokens_total', SERVER, 'pool')} > 0)",
                    "{{pool}}",
                )
            ],
            unit="percentunit",
            highest=1,
        ),
        Panel(
            title="Proposed tokens accepted",
            description="Share of the tokens proposed by prompt lookup that the model accepted.",
            queries=[
                Query(
                    f"{rate('sensorium_engine_accepted_tokens_total', SERVER, 'pool')}\n/\n"
                    f"({rate('sensorium_engine_proposed_tokens_total', SERVER, 'pool')} > 0)",
                    "{{pool}}",
                )
            ],
            unit="percentunit",
            highest=1,
        ),
    ],
)

VISION = Row(
    "Vision",
    [
        Panel(
            title="Images",
            description="Read for requests that were answered, per second.",
            unit="count:img/s",
            queries=[Query(rate("sensorium_engine_images_total", _VISION, "pool"), "{{pool}}")],
        ),
        Panel(
            title="Images in a batch",
            description="Mean over steps.",
            queries=[Query(mean("sensorium_engine_batch_size", _VISION, "pool"), "{{pool}}")],
        ),
        Panel(
            title="Duration, mean",
            description="From acceptance until the answer, by model.",
            queries=[
                Query(
                    mean("gen_ai_server_request_duration_seconds", f'{_VISION}, model=""', "pool"),
                    "{{pool}}",
                )
            ],
            unit="s",
        ),
    ],
)

SPEECH = Row(
    "Speech",
    [
        Panel(
            title="Audio",
            description="Seconds heard (input) and spoken (output), per second.",
            queries=[
                Query(
                    rate("sensorium_engine_audio_seconds_total", _SPEECH, "pool, direction"),
                    "{{pool}} {{direction}}",
                )
            ],
            unit="s",
        ),
        Panel(
            title="Real-time factor",
            description="Seconds the model worked per second of a request's audio. Over 1, live speech lags behind.",
            queries=[
                Query(quantile(0.5, "sensorium_engine_real_time_factor", _SPEECH, "pool"), "{{pool}} p50"),
                Query(quantile(0.95, "sensorium_engine_real_time_factor", _SPEECH, "pool"), "{{pool}} p95"),
            ],
            steps=[Step(1, "red")],
        ),
        Panel(
            title="Live streams",
            description="Streams of live audio that are open.",
            queries=[Query(total("sensorium_engine_live_streams", _SPEECH, "pool"), "{{pool}}")],
        ),
    ],
)

MULTIMODAL = Row(
    "Multimodal",
    [
        Panel(
            title="Images",
            description="Read for requests that were answered, per second.",
            unit="count:img/s",
            queries=[Query(rate("sensorium_engine_images_total", _MULTIMODAL, "pool"), "{{pool}}")],
            width=12,
        ),
        Panel(
            title="Media cache",
            description="Images and recordings in prompts, and those whose features were cached, per second.",
            queries=[
                Query(rate("sensorium_engine_media_cache_queries_total", _MULTIMODAL), "looked up"),
                Query(rate("sensorium_engine_media_cache_hits_total", _MULTIMODAL), "known"),
            ],
            width=12,
        ),
    ],
)

"""A model server: its batch, its cache, its device, and what each modality does with them."""

from k8s.monitoring.board import Board, Row, Variable
from k8s.monitoring.panel import Panel, Query, Step
from k8s.monitoring.promql import mean, quantile, rate, total

SERVER = 'namespace=~"$namespace", pool=~"$pool", instance=~"$instance"'
GPU = 'namespace=~"$namespace", pod=~"sensorium-.*"'


def _modality(name: str) -> str:
    return f'{SERVER}, modality="{name}"'


def _engine(name: str) -> str:
    return f"sensorium_engine_{name}"


_BATCH = Row(
    "Batch and queue",
    [
        Panel(
            title="Running and waiting",
            description="Requests in the batch, and accepted ones no step has worked on yet.",
            queries=[
                Query(total(_engine("requests_running"), SERVER, "pool"), "{{pool}} running"),
                Query(total(_engine("requests_waiting"), SERVER, "pool"), "{{pool}} waiting"),
            ],
        ),
        Panel(
            title="Waiting inputs",
            description="Tokens, images or frames of sound of the requests that wait.",
            queries=[Query(total(_engine("tokens_waiting"), SERVER, "pool"), "{{pool}}")],
        ),
        Panel(
            title="Rows of a step",
            description="Mean size of the batch: the larger, the more of the device is used.",
            queries=[Query(mean(_engine("batch_size"), SERVER, "pool"), "{{pool}}")],
        ),
        Panel(
            title="Length of a step, p95",
            description="Streams feel it between two tokens.",
            queries=[Query(quantile(0.95, _engine("step_seconds"), SERVER, "pool"), "{{pool}}")],
            unit="s",
        ),
        Panel(
            title="Steps",
            description="Of the model, per second.",
            queries=[Query(rate(_engine("steps_total"), SERVER, "pool"), "{{pool}}")],
            unit="ops",
        ),
        Panel(
            title="At work",
            description="Share of time the engine worked, and the part of it in the model's own forward.",
            queries=[
                Query(rate(_engine("busy_seconds_total"), SERVER, "pool"), "{{pool}} engine"),
                Query(rate(_engine("forward_seconds_total"), SERVER, "pool"), "{{pool}} model"),
            ],
            unit="percentunit",
        ),
    ],
)

_REQUESTS = Row(
    "Requests",
    [
        Panel(
            title="Ends",
            description="Requests that ended, by how.",
            queries=[Query(rate(_engine("requests_total"), SERVER, "finish_reason"), "{{finish_reason}}")],
            unit="reqps",
        ),
        Panel(
            title="Queue, p95",
            description="From acceptance until the model first worked.",
            queries=[Query(quantile(0.95, _engine("queue_seconds"), SERVER, "pool"), "{{pool}}")],
            unit="s",
            exemplars=True,
        ),
        Panel(
            title="Duration, p95",
            description="From acceptance until the end.",
            queries=[
                Query(
                    quantile(0.95, "gen_ai_server_request_duration_seconds", f'{SERVER}, model=""', "pool"), "{{pool}}"
                )
            ],
            unit="s",
            exemplars=True,
        ),
    ],
)

_GENERATION = Row(
    "Text: generation, in every service that generates",
    [
        Panel(
            title="Tokens",
            description="Generated, and read, per second.",
            queries=[
                Query(rate(_engine("generation_tokens_total"), SERVER, "pool"), "{{pool}} generated"),
                Query(rate(_engine("prompt_tokens_total"), SERVER, "pool"), "{{pool}} read"),
            ],
        ),
        Panel(
            title="Prefill and decode, p95",
            description="From the first work until the first token, and from there until the end.",
            queries=[
                Query(quantile(0.95, _engine("prefill_seconds"), SERVER, "pool"), "{{pool}} prefill"),
                Query(quantile(0.95, _engine("decode_seconds"), SERVER, "pool"), "{{pool}} decode"),
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
            description="Share of the pages of keys and values. Near 1, sequences are put back and computed again.",
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
            description="Sequences put back because no page was free.",
            queries=[Query(rate(_engine("preemptions_total"), SERVER, "pool"), "{{pool}}")],
            unit="cps",
        ),
        Panel(
            title="Prompts known already",
            description="Share of prompt tokens found in the prefix cache, and not computed again.",
            queries=[
                Query(
                    f"{rate(_engine('prefix_cache_hit_tokens_total'), SERVER, 'pool')}\n/\n"
                    f"({rate(_engine('prefix_cache_query_tokens_total'), SERVER, 'pool')} > 0)",
                    "{{pool}}",
                )
            ],
            unit="percentunit",
            highest=1,
        ),
    ],
)

_VISION = Row(
    "Vision",
    [
        Panel(
            title="Images",
            description="Read for requests that were answered, per second.",
            queries=[Query(rate(_engine("images_total"), _modality("vision"), "pool"), "{{pool}}")],
        ),
        Panel(
            title="Images in a batch",
            description="Mean over steps.",
            queries=[Query(mean(_engine("batch_size"), _modality("vision"), "pool"), "{{pool}}")],
        ),
        Panel(
            title="Duration, mean",
            description="From acceptance until the answer, by model.",
            queries=[
                Query(
                    mean("gen_ai_server_request_duration_seconds", f'{_modality("vision")}, model=""', "pool"),
                    "{{pool}}",
                )
            ],
            unit="s",
        ),
    ],
)

_SPEECH = Row(
    "Speech",
    [
        Panel(
            title="Audio",
            description="Seconds heard (input) and spoken (output), per second.",
            queries=[
                Query(
                    rate(_engine("audio_seconds_total"), _modality("speech"), "pool, direction"),
                    "{{pool}} {{direction}}",
                )
            ],
            unit="s",
        ),
        Panel(
            title="Real-time factor",
            description="Seconds the model worked per second of a request's audio. Over 1, live speech lags behind.",
            queries=[
                Query(quantile(0.5, _engine("real_time_factor"), _modality("speech"), "pool"), "{{pool}} p50"),
                Query(quantile(0.95, _engine("real_time_factor"), _modality("speech"), "pool"), "{{pool}} p95"),
            ],
            steps=[Step(1, "red")],
        ),
        Panel(
            title="Live streams",
            description="Streams of live audio that are open.",
            queries=[Query(total(_engine("live_streams"), _modality("speech"), "pool"), "{{pool}}")],
        ),
    ],
)

_MULTIMODAL = Row(
    "Multimodal",
    [
        Panel(
            title="Images",
            description="Read for requests that were answered, per second.",
            queries=[Query(rate(_engine("images_total"), _modality("multimodal"), "pool"), "{{pool}}")],
            width=12,
        ),
        Panel(
            title="Media known already",
            description="Images and recordings in prompts, and those that had been encoded before, per second.",
            queries=[
                Query(rate(_engine("media_cache_queries_total"), _modality("multimodal")), "looked up"),
                Query(rate(_engine("media_cache_hits_total"), _modality("multimodal")), "known"),
            ],
            width=12,
        ),
    ],
)

_DEVICE = Row(
    "Loading and device",
    [
        Panel(
            title="Loading",
            description="Seconds each phase of loading took: how long a new replica is of no use.",
            queries=[
                Query(f"max by (pool, phase) (sensorium_engine_model_load_seconds{{{SERVER}}})", "{{pool}} {{phase}}")
            ],
            unit="s",
            kind="bargauge",
        ),
        Panel(
            title="State of the model",
            description="1 loading, 2 warming, 3 ready, 4 draining, 5 failed.",
            queries=[
                Query(f"max by (pool, instance) (sensorium_engine_model_state{{{SERVER}}})", "{{pool}} {{instance}}")
            ],
            highest=5,
        ),
        Panel(
            title="Out of memory",
            description="Steps that did not fit into the device's memory: repeated in parts, or the request fails.",
            queries=[
                Query(f"sum by (pool) (increase(sensorium_engine_oom_total{{{SERVER}}}[$__rate_interval]))", "{{pool}}")
            ],
        ),
        Panel(
            title="Memory of the GPU, by the process",
            description="Allocated by tensors, reserved by torch, and what there is. 0 on a CPU.",
            queries=[
                Query(f"max by (pool, kind) (sensorium_engine_gpu_memory_bytes{{{SERVER}}})", "{{pool}} {{kind}}")
            ],
            unit="bytes",
        ),
        Panel(
            title="GPU at work (DCGM)",
            description="Share of time a kernel ran. It says little of how well: look at rows of a step.",
            queries=[Query(f"avg by (pod, gpu) (DCGM_FI_DEV_GPU_UTIL{{{GPU}}})", "{{pod}} {{gpu}}")],
            unit="percent",
            highest=100,
        ),
        Panel(
            title="Memory of the GPU (DCGM)",
            description="In use by all processes, in MiB.",
            queries=[Query(f"max by (pod, gpu) (DCGM_FI_DEV_FB_USED{{{GPU}}})", "{{pod}} {{gpu}}")],
            unit="decmbytes",
        ),
        Panel(
            title="Power (DCGM)",
            description="Watts of each GPU.",
            queries=[Query(f"max by (pod, gpu) (DCGM_FI_DEV_POWER_USAGE{{{GPU}}})", "{{pod}} {{gpu}}")],
            unit="watt",
        ),
        Panel(
            title="Temperature (DCGM)",
            description="A GPU that is too hot slows down.",
            queries=[Query(f"max by (pod, gpu) (DCGM_FI_DEV_GPU_TEMP{{{GPU}}})", "{{pod}} {{gpu}}")],
            unit="celsius",
        ),
        Panel(
            title="Last Xid (DCGM)",
            description="Number of the GPU's last error; 0 is none. The runbook of GPUXid tells what they mean.",
            queries=[Query(f"max by (pod, gpu) (DCGM_FI_DEV_XID_ERRORS{{{GPU}}})", "{{pod}} {{gpu}}")],
        ),
    ],
)

MODEL_SERVER = Board(
    name="model-server",
    title="sensorium / Model server",
    description="Batch, cache and device of the services, and what each modality does with them.",
    variables=[
        Variable("namespace", _engine("model_state")),
        Variable("pool", _engine("model_state")),
        Variable("instance", _engine("model_state")),
    ],
    rows=[_BATCH, _REQUESTS, _GENERATION, _VISION, _SPEECH, _MULTIMODAL, _DEVICE],
)

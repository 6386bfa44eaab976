"""The model server's board: batch, requests, modalities and device."""

from k8s.monitoring.board import Board, Row, Variable
from k8s.monitoring.boards.devices import DEVICE
from k8s.monitoring.boards.modalities import GENERATION, MULTIMODAL, SPEECH, VISION
from k8s.monitoring.boards.selection import SERVER
from k8s.monitoring.panel import Panel, Query
from k8s.monitoring.promql import mean, quantile, rate, total

_STATE = "sensorium_engine_model_state"

_BATCH = Row(
    "Batch and queue",
    [
        Panel(
            title="Running and waiting",
            description="Requests in the batch, and accepted requests that have not started yet.",
            queries=[
                Query(total("sensorium_engine_requests_running", SERVER, "pool"), "{{pool}} running"),
                Query(total("sensorium_engine_requests_waiting", SERVER, "pool"), "{{pool}} waiting"),
            ],
        ),
        Panel(
            title="Waiting inputs",
            description="Tokens, images or frames of sound of the requests that wait.",
            queries=[Query(total("sensorium_engine_tokens_waiting", SERVER, "pool"), "{{pool}}")],
        ),
        Panel(
            title="Rows of a step",
            description="Mean size of the batch: the larger, the more of the device is used.",
            queries=[Query(mean("sensorium_engine_batch_size", SERVER, "pool"), "{{pool}}")],
        ),
        Panel(
            title="Length of a step, p95",
            description="Running streams get their next token after it.",
            queries=[Query(quantile(0.95, "sensorium_engine_step_seconds", SERVER, "pool"), "{{pool}}")],
            unit="s",
        ),
        Panel(
            title="Steps",
            description="Of the model, per second.",
            queries=[Query(rate("sensorium_engine_steps_total", SERVER, "pool"), "{{pool}}")],
            unit="ops",
        ),
        Panel(
            title="At work",
            description="Share of time in which the engine was busy, and in which the model's forward ran.",
            queries=[
                Query(rate("sensorium_engine_busy_seconds_total", SERVER, "pool"), "{{pool}} engine"),
                Query(rate("sensorium_engine_forward_seconds_total", SERVER, "pool"), "{{pool}} model"),
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
            description="Requests that ended, by finish reason.",
            queries=[Query(rate("sensorium_engine_requests_total", SERVER, "finish_reason"), "{{finish_reason}}")],
            unit="reqps",
        ),
        Panel(
            title="Queue, p95",
            description="From acceptance until the first step of the request.",
            queries=[Query(quantile(0.95, "sensorium_engine_queue_seconds", SERVER, "pool"), "{{pool}}")],
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

MODEL_SERVER = Board(
    name="model-server",
    title="sensorium / Model server",
    description="Batch, KV cache and device of the services, and the work of each modality.",
    variables=[
        Variable("namespace", _STATE),
        Variable("pool", _STATE),
        Variable("instance", _STATE),
    ],
    rows=[_BATCH, _REQUESTS, GENERATION, VISION, SPEECH, MULTIMODAL, DEVICE],
)

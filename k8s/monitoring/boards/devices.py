"""A row of the model server's board about loading and the device."""

from k8s.monitoring.board import Row
from k8s.monitoring.boards.selection import HERE, SERVER
from k8s.monitoring.panel import Panel, Query

_GPU = f'{HERE}, pod=~"sensorium-.*"'

DEVICE = Row(
    "Loading and device",
    [
        Panel(
            title="Loading",
            description="Seconds of each phase of loading, until a new replica is ready.",
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
            title="Models that stopped working",
            description="By reason: an error of the GPU, or a step that hangs. The process exits seconds later.",
            queries=[
                Query(
                    f"sum by (pool, reason) (increase(sensorium_engine_faults_total{{{SERVER}}}[$__rate_interval]))",
                    "{{pool}} {{reason}}",
                )
            ],
        ),
        Panel(
            title="Ranks of a model",
            description="Running processes that each hold a part of a model; 1 if it is not divided. If one is lost, "
            "all end.",
            queries=[Query(f"min by (pool, instance) (sensorium_engine_ranks{{{SERVER}}})", "{{pool}} {{instance}}")],
        ),
        Panel(
            title="Sending steps to ranks",
            description="Share of the engine's busy time in which the first rank sends its steps to the others.",
            queries=[
                Query(
                    f"sum by (pool) (rate(sensorium_engine_telling_seconds_total{{{SERVER}}}[$__rate_interval]))"
                    f" / sum by (pool) (rate(sensorium_engine_busy_seconds_total{{{SERVER}}}[$__rate_interval]))",
                    "{{pool}}",
                )
            ],
            unit="percentunit",
        ),
        Panel(
            title="Memory of the GPU, by the process",
            description="Allocated by tensors, reserved by torch, and the device's total. 0 on a CPU.",
            queries=[
                Query(f"max by (pool, kind) (sensorium_engine_gpu_memory_bytes{{{SERVER}}})", "{{pool}} {{kind}}")
            ],
            unit="bytes",
        ),
        Panel(
            title="Plan of the device's memory",
            description="As each process planned it at load: weights, the largest step, recorded steps, media, the KV "
            "cache; memory of other processes, and a reserve.",
            queries=[
                Query(
                    f'max by (pool, part) (sensorium_engine_memory_plan_bytes{{part!="total",{SERVER}}})',
                    "{{pool}} {{part}}",
                )
            ],
            unit="bytes",
        ),
        Panel(
            title="GPU at work (DCGM)",
            description="Share of time in which a kernel ran. For efficiency, see the rows of a step.",
            queries=[Query(f"avg by (pod, gpu) (DCGM_FI_DEV_GPU_UTIL{{{_GPU}}})", "{{pod}} {{gpu}}")],
            unit="percent",
            highest=100,
        ),
        Panel(
            title="Memory of the GPU (DCGM)",
            description="In use by all processes, in MiB.",
            queries=[Query(f"max by (pod, gpu) (DCGM_FI_DEV_FB_USED{{{_GPU}}})", "{{pod}} {{gpu}}")],
            unit="decmbytes",
        ),
        Panel(
            title="Power (DCGM)",
            description="Watts of each GPU.",
            queries=[Query(f"max by (pod, gpu) (DCGM_FI_DEV_POWER_USAGE{{{_GPU}}})", "{{pod}} {{gpu}}")],
            unit="watt",
        ),
        Panel(
            title="Temperature (DCGM)",
            description="A GPU that is too hot slows down.",
            queries=[Query(f"max by (pod, gpu) (DCGM_FI_DEV_GPU_TEMP{{{_GPU}}})", "{{pod}} {{gpu}}")],
            unit="celsius",
        ),
        Panel(
            title="Last Xid (DCGM)",
            description="Number of the GPU's last error; 0 is none. The runbook of GPUXid tells what they mean.",
            queries=[Query(f"max by (pod, gpu) (DCGM_FI_DEV_XID_ERRORS{{{_GPU}}})", "{{pod}} {{gpu}}")],
        ),
    ],
)

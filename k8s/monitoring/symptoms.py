"""Alerts on what is wrong inside, beside the promises of `objectives`."""

from k8s.monitoring.pools import READY, SATURATION
from k8s.monitoring.promql import BY_POOL
from k8s.monitoring.rule import Alert, Group

_CALLS = "sum by (namespace) (rate(sensorium_gateway_requests_total[10m]))"

_PODS = 'pod=~"sensorium-.*"'
# What does not pass by itself; a pod that waits for its weights or its node has other reasons.
_WAITS_IN_VAIN = (
    "CrashLoopBackOff|CreateContainerConfigError|CreateContainerError|ErrImagePull|ImagePullBackOff|InvalidImageName"
)

_SERVERS = 'pod=~"sensorium-.*", container="server"'

GATEWAY = Group(
    "sensorium-gateway",
    [
        Alert(
            alert="GatewayAbsent",
            # Targets that are gone have no `up` at all, so both are asked.
            expr=('absent(up{job="sensorium-gateway"})\nor\nmax by (namespace) (up{job="sensorium-gateway"}) == 0'),
            lasting="1m",
            severity="critical",
            summary="No gateway can be scraped.",
            description="Nobody reaches a model through it, or Prometheus does not reach the gateways.",
        ),
        Alert(
            alert="NoReadyEndpoints",
            # A pool that is scaled to zero on purpose has no endpoints and no work: it alarms nobody. One that comes
            # back from there may take as long as this lasts; callers of all others are spoken for by AvailabilityBurn.
            expr=(
                f"{READY} == 0\nand\n("
                f"sum by ({BY_POOL}) (sensorium_gateway_endpoints) > 0\nor\n"
                f"sum by ({BY_POOL}) (sensorium_gateway_queue_depth) > 0)"
            ),
            lasting="15m",
            severity="critical",
            summary="Pool {{ $labels.pool }} has no ready endpoint.",
            description="No gateway has one to send a request to; requests wait, and then fail.",
        ),
        Alert(
            alert="PoolSaturated",
            expr=f"{SATURATION} > 1",
            lasting="10m",
            severity="warning",
            summary="Pool {{ $labels.pool }} has more work than it can do at once.",
            description="Queued and running requests are {{ $value | humanize }} times its capacity, for ten minutes.",
        ),
        Alert(
            alert="QueueExpiring",
            expr=(
                f'(sum by ({BY_POOL}) (rate(sensorium_gateway_admission_total{{outcome=~"deadline|expired"}}[5m]))'
                f"\nor on() vector(0)) > 0"
            ),
            lasting="5m",
            severity="warning",
            summary="Requests of pool {{ $labels.pool }} wait in vain.",
            description="{{ $value | humanize }} a second end in the queue because their time is over.",
        ),
        Alert(
            alert="BrokenStreams",
            expr=(
                f"(sum by (namespace) (rate(sensorium_gateway_streams_broken_total[10m]))\nor 0 * {_CALLS})\n"
                f"/\n{_CALLS} > 0.01"
            ),
            lasting="5m",
            severity="critical",
            summary="Streams break in the middle.",
            description="{{ $value | humanizePercentage }} of calls lost their endpoint after their first message.",
        ),
        Alert(
            alert="RetryBudgetExhausted",
            expr=(
                '(sum by (namespace) (rate(sensorium_gateway_attempts_total{result="budget_exhausted"}[5m]))'
                "\nor on() vector(0)) > 0"
            ),
            lasting="5m",
            severity="warning",
            summary="The gateway no longer repeats what fails.",
            description="So much fails that repeating it would make it worse; callers see the errors of endpoints.",
        ),
        Alert(
            alert="LoadReportsStale",
            expr=f"max by ({BY_POOL}) (sensorium_gateway_load_report_age_seconds) > 60",
            lasting="5m",
            severity="warning",
            summary="An endpoint of pool {{ $labels.pool }} does not tell what it can do.",
            description="Its last word is {{ $value | humanizeDuration }} old: the gateway may send it too much.",
        ),
        Alert(
            alert="EventLoopLag",
            expr=(
                "histogram_quantile(0.99, sum by (namespace, instance, le) "
                "(rate(sensorium_gateway_event_loop_lag_seconds_bucket[5m]))) > 0.1"
            ),
            lasting="10m",
            severity="warning",
            summary="Gateway {{ $labels.instance }} is out of breath.",
            description=(
                "1 % of its work begins {{ $value | humanizeDuration }} late or later: "
                "it needs more CPU, or more gateways."
            ),
        ),
    ],
)

DEVICES = Group(
    "sensorium-devices",
    [
        Alert(
            alert="EngineOOM",
            expr=f"sum by ({BY_POOL}, instance) (increase(sensorium_engine_oom_total[15m])) > 0",
            lasting="0m",
            severity="warning",
            summary="Steps of {{ $labels.pool }} do not fit into the memory of their device.",
            description="{{ $value | humanize }} in 15 minutes on {{ $labels.instance }}.",
        ),
        Alert(
            alert="ModelStopped",
            # The counter of the process goes with it; what Kubernetes keeps is how it ended, for as long as it runs.
            expr=(
                f"(kube_pod_container_status_last_terminated_exitcode{{{_SERVERS}}} >= 3) <= 4\n"
                "and on (namespace, pod)\n"
                f"time() - kube_pod_container_status_last_terminated_timestamp{{{_SERVERS}}} < 1800"
            ),
            lasting="0m",
            severity="warning",
            summary="{{ $labels.pod }} began anew, since its model had stopped working.",
            description="It ended with code {{ $value }}: 3 after an error of its GPU, 4 after a hung step.",
        ),
        Alert(
            alert="GPUXid",
            expr="max by (Hostname, gpu, pod) (DCGM_FI_DEV_XID_ERRORS) > 0",
            lasting="0m",
            severity="warning",
            summary="GPU {{ $labels.gpu }} of {{ $labels.Hostname }} reports Xid {{ $value }}.",
            description="Seen by {{ $labels.pod }}; the runbook tells which numbers mean that the GPU is broken.",
        ),
    ],
)

CLUSTER = Group(
    "sensorium-cluster",
    [
        Alert(
            alert="PodFails",
            # One that loads for minutes before it ends is hardly ever seen to wait for its next start: both are asked.
            expr=(
                "sum by (namespace, pod, container) "
                f"(increase(kube_pod_container_status_restarts_total{{{_PODS}}}[1h])) >= 3\n"
                "or\n"
                "max by (namespace, pod, container) (max_over_time("
                f'kube_pod_container_status_waiting_reason{{{_PODS}, reason=~"{_WAITS_IN_VAIN}"}}[5m])) > 0'
            ),
            lasting="15m",
            severity="warning",
            summary="{{ $labels.pod }} does not run.",
            description=(
                "Its container {{ $labels.container }} ends again and again, or cannot be started: others of its pool, "
                "if there are any, do its work."
            ),
        ),
        Alert(
            alert="ScaledAtMax",
            expr=(
                'kube_horizontalpodautoscaler_status_desired_replicas{horizontalpodautoscaler=~".*sensorium.*"}\n'
                ">= on (namespace, horizontalpodautoscaler)\n"
                "kube_horizontalpodautoscaler_spec_max_replicas"
            ),
            lasting="15m",
            severity="warning",
            summary="{{ $labels.horizontalpodautoscaler }} cannot grow further.",
            description="It wants the {{ $value }} replicas that are its maximum, for a quarter of an hour.",
        ),
        Alert(
            alert="CertExpiry",
            expr='(certmanager_certificate_expiration_timestamp_seconds{name=~"sensorium.*"} - time()) / 86400 < 7',
            lasting="1h",
            severity="critical",
            summary="Certificate {{ $labels.name }} ends soon.",
            description="It holds for {{ $value | humanize }} more days and was not renewed.",
        ),
    ],
)

GROUPS = (GATEWAY, DEVICES, CLUSTER)

"""Alerts on internal symptoms, in addition to the burn alerts of the objectives."""

from k8s.monitoring.pools import READY, SATURATION
from k8s.monitoring.promql import BY_POOL
from k8s.monitoring.rule import Alert, Group

_CALLS = "sum by (namespace) (rate(sensorium_gateway_requests_total[10m]))"

_PODS = 'pod=~"sensorium-.*"'
# Waiting reasons that do not resolve by themselves. Pods that wait for weights or a node have other reasons.
_STUCK_REASONS = (
    "CrashLoopBackOff|CreateContainerConfigError|CreateContainerError|ErrImagePull|ImagePullBackOff|InvalidImageName"
)

_SERVERS = 'pod=~"sensorium-.*", container="server"'

GATEWAY = Group(
    "sensorium-gateway",
    [
        Alert(
            alert="GatewayAbsent",
            # Targets that are gone have no `up` series at all, so both are checked.
            expr=('absent(up{job="sensorium-gateway"})\nor\nmax by (namespace) (up{job="sensorium-gateway"}) == 0'),
            lasting="1m",
            severity="critical",
            summary="No gateway can be scraped.",
            description="No caller can reach a model, or Prometheus cannot reach the gateways.",
        ),
        Alert(
            alert="NoReadyEndpoints",
            # A pool that is scaled to zero has no endpoints and no queue, so it does not fire. A pool that starts from
            # zero has `lasting` to become ready. Failures of other pools fire AvailabilityBurn earlier.
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
            summary="Requests of pool {{ $labels.pool }} expire in the queue.",
            description="{{ $value | humanize }} requests per second reach their deadline or the longest wait.",
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
            summary="The gateway's retry budget is used up.",
            description="Failures exceed the retry budget, so callers see the errors of endpoints.",
        ),
        Alert(
            alert="LoadReportsStale",
            expr=f"max by ({BY_POOL}) (sensorium_gateway_load_report_age_seconds) > 60",
            lasting="5m",
            severity="warning",
            summary="An endpoint of pool {{ $labels.pool }} does not report its models.",
            description="Its last report is {{ $value | humanizeDuration }} old: the gateway may overload it.",
        ),
        Alert(
            alert="EventLoopLag",
            expr=(
                "histogram_quantile(0.99, sum by (namespace, instance, le) "
                "(rate(sensorium_gateway_event_loop_lag_seconds_bucket[5m]))) > 0.1"
            ),
            lasting="10m",
            severity="warning",
            summary="Gateway {{ $labels.instance }} has a slow event loop.",
            description=(
                "1 % of its timers fire {{ $value | humanizeDuration }} late or more: "
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
            # The process' own counters end with it. Kubernetes keeps the last exit code while the pod exists.
            expr=(
                f"(kube_pod_container_status_last_terminated_exitcode{{{_SERVERS}}} >= 3) <= 4\n"
                "and on (namespace, pod)\n"
                f"time() - kube_pod_container_status_last_terminated_timestamp{{{_SERVERS}}} < 1800"
            ),
            lasting="0m",
            severity="warning",
            summary="{{ $labels.pod }} restarted after its model had stopped working.",
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
            # A container that loads for minutes before it exits is rarely seen waiting, so restarts are checked too.
            expr=(
                "sum by (namespace, pod, container) "
                f"(increase(kube_pod_container_status_restarts_total{{{_PODS}}}[1h])) >= 3\n"
                "or\n"
                "max by (namespace, pod, container) (max_over_time("
                f'kube_pod_container_status_waiting_reason{{{_PODS}, reason=~"{_STUCK_REASONS}"}}[5m])) > 0'
            ),
            lasting="15m",
            severity="warning",
            summary="{{ $labels.pod }} does not run.",
            description=(
                "Its container {{ $labels.container }} keeps restarting, or cannot be started: others of its pool, "
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
            summary="{{ $labels.horizontalpodautoscaler }} is at its maximum.",
            description="It has wanted its maximum of {{ $value }} replicas for 15 minutes.",
        ),
        Alert(
            alert="CertExpiry",
            expr='(certmanager_certificate_expiration_timestamp_seconds{name=~"sensorium.*"} - time()) / 86400 < 7',
            lasting="1h",
            severity="critical",
            summary="Certificate {{ $labels.name }} expires soon.",
            description="It is valid for {{ $value | humanize }} more days and was not renewed.",
        ),
    ],
)

GROUPS = (GATEWAY, DEVICES, CLUSTER)

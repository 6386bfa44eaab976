"""Options of servers and channels, each chosen and none left to a default that bites."""

from sensorium.rpc.settings import ServerSettings

Options = list[tuple[str, int | str]]

_MAX_CONCURRENT_STREAMS = 1000


def server_options(settings: ServerSettings) -> Options:
    """Returns the options of a server."""
    options: Options = [
        # By default a second server takes half of the connections of the first, silently.
        ("grpc.so_reuseport", 0),
        # 4 MiB by default, which a photograph exceeds.
        ("grpc.max_receive_message_length", settings.message_bytes),
        ("grpc.max_send_message_length", settings.message_bytes),
        ("grpc.max_concurrent_streams", _MAX_CONCURRENT_STREAMS),
        # Finds dead callers, whose work would otherwise go on.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # By default, pings within five minutes end the connection in the middle of a long prefill.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
    if settings.max_connection_age_seconds is not None:
        # Without a grace of its own, streams of an aged connection run to their end.
        options.append(("grpc.max_connection_age_ms", round(settings.max_connection_age_seconds * 1000)))
    return options


def channel_options(message_bytes: int) -> Options:
    """Returns the options of a channel to a server with these limits."""
    return [
        ("grpc.max_receive_message_length", message_bytes),
        ("grpc.max_send_message_length", message_bytes),
        # A third of what servers here tolerate, and below the idle limits of most proxies.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # gRPC's own retries cannot tell whether a stream has begun to be read.
        ("grpc.enable_retries", 0),
        # By default the window of a stream nobody reads grows on and on; fixed, it holds the sender back.
        ("grpc.http2.bdp_probe", 0),
        # Holds thousands of deltas, and lets 250 MB/s of media through at a millisecond's distance.
        ("grpc.http2.lookahead_bytes", 256 * 1024),
    ]

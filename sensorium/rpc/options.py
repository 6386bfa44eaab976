"""Options of channels, each chosen and none left to a default that bites."""

Options = list[tuple[str, int | str]]


def channel_options(message_bytes: int) -> Options:
    """Returns the options of a channel to a server with these limits."""
    return [
        ("grpc.max_receive_message_length", message_bytes),
        ("grpc.max_send_message_length", message_bytes),
        # A third of what servers here tolerate, and below the idle limits of most proxies.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # Which alone is not heeded: what waits for the answer to such a ping does so for a minute by default.
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # gRPC's own retries cannot tell whether a stream has begun to be read.
        ("grpc.enable_retries", 0),
        # By default the window of a stream nobody reads grows on and on; fixed, it holds the sender back.
        ("grpc.http2.bdp_probe", 0),
        # Holds thousands of deltas, and lets 250 MB/s of media through at a millisecond's distance.
        ("grpc.http2.lookahead_bytes", 256 * 1024),
    ]

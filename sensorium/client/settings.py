"""What a client is configured with, checked once."""

from dataclasses import dataclass, field
from types import UnionType

from sensorium.client.retry import Retry
from sensorium.client.target import is_loopback
from sensorium.client.tls import TLS

DEFAULT_TARGET = "127.0.0.1:50050"
DEFAULT_MESSAGE_BYTES = 32 * 1024 * 1024

_KINDS: dict[str, tuple[UnionType | type, str]] = {
    "target": (str, "text, HOST:PORT"),
    "model": (str, "text"),
    "tls": (
        TLS | None,
        "a sensorium.TLS, such as TLS() for the system's certificate authorities, or None for clear text",
    ),
    "token": (str | None, "text or None"),
    "plaintext_token": (bool, "True or False"),
    "retry": (Retry | None, "a sensorium.Retry or None"),
}
"""Of arguments that would otherwise fail later, or be taken for true or false: their type, and how a person says it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The arguments of `Client` and `AsyncClient`, which documents them.

    Raises:
        ValueError: a value is out of range, or the token would travel in clear text.
        TypeError: a value has the wrong type.
    """

    target: str
    model: str
    timeout: float | None
    tls: TLS | None
    token: str | None = field(repr=False)
    plaintext_token: bool
    message_bytes: int
    retry: Retry | None

    def __post_init__(self) -> None:
        for name, (kind, told) in _KINDS.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise TypeError(f"{name} must be {told}, not {type(value).__name__}.")
        if not self.target:
            raise ValueError("target must not be empty.")
        if self.target.startswith(("http://", "https://")):
            raise ValueError(f"target must be HOST:PORT, without http:// or https://, not {self.target}.")
        if any("\ud800" <= character <= "\udfff" for character in self.model):
            raise ValueError("model must be text that UTF-8 can hold.")
        # Written so that it refuses NaN too.
        if self.timeout is not None and not self.timeout > 0:
            raise ValueError("timeout must be positive.")
        if self.message_bytes <= 0:
            raise ValueError("message_bytes must be positive.")
        if self.token is not None:
            self._check_token(self.token)

    def _check_token(self, token: str) -> None:
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("token must be printable ASCII without spaces.")
        if self.tls is None and not self.plaintext_token and not is_loopback(self.target):
            raise ValueError(
                f"The token would travel to {self.target} in clear text: use TLS, "
                "or allow it with plaintext_token where the network itself is trusted."
            )

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Returns the metadata that goes with every call."""
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)

    def channel_options(self) -> list[tuple[str, str | int]]:
        """Returns the options of the channel."""
        options: list[tuple[str, str | int]] = [
            ("grpc.max_receive_message_length", self.message_bytes),
            ("grpc.max_send_message_length", self.message_bytes),
            # A long prefill sends nothing for a while: pings must go on, and find a dead peer meanwhile.
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            # Which alone is not heeded: what waits for the answer to such a ping does so for a minute by default.
            ("grpc.http2.ping_timeout_ms", 10_000),
            ("grpc.http2.max_pings_without_data", 0),
            # gRPC waits a second before it connects again, in which every retry of ours would be in vain.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 5_000),
            # In spite of its name the time that an attempt may take: connecting, TLS and the peer's first frame.
            ("grpc.min_reconnect_backoff_ms", 5_000),
            # A name with several addresses is several replicas; the default would pin the first.
            ("grpc.lb_policy_name", "round_robin"),
        ]
        if is_loopback(self.target):
            # gRPC sends even 127.0.0.1 through http_proxy. Other targets follow http_proxy and no_proxy.
            options.append(("grpc.enable_http_proxy", 0))
        return options + (self.tls.options() if self.tls else [])

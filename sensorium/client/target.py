"""Whether a target is this machine."""

import ipaddress
import re

_SCHEME = re.compile(r"^(dns|ipv4|ipv6):(///)?")


def is_loopback(target: str) -> bool:
    """Whether everything sent to the gRPC `target` stays on this machine."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    return all(_is_loopback_host(_host(address)) for address in _SCHEME.sub("", target, count=1).split(","))


def _host(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address if address.count(":") > 1 else address.partition(":")[0]


def _is_loopback_host(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""How fast tokens come while all rows decode."""

from collections.abc import Collection


def steady_rate(arrivals: Collection[list[float]]) -> float:
    """Returns tokens per second between the last row's first token and the first row's last one; 0 if that came first.

    Args:
        arrivals: The seconds at which each row's tokens came.
    """
    begin, end = max(times[0] for times in arrivals), min(times[-1] for times in arrivals)
    if not begin < end:
        return 0.0
    return sum(begin < time <= end for times in arrivals for time in times) / (end - begin)

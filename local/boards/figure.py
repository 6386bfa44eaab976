"""Formats values in Grafana's units."""

_THOUSANDS = ("", " k", " M", " G", " T")
_SUFFIXES = {"reqps": " req/s", "ops": " ops/s", "cps": " c/s", "watt": " W", "celsius": " °C", "percent": " %"}


def figure(value: float, unit: str) -> str:
    """Returns a value with about three digits and its unit."""
    match unit:
        case "percentunit":
            return f"{_digits(100 * value)} %"
        case "s":
            return _duration(value)
        case "bytes" | "decmbytes":
            base, scaled = (1024.0, value) if unit == "bytes" else (1000.0, value * 1e6)
            return _scaled(scaled, base) + "B"
        case _:
            _, counted, thing = unit.partition("count:")
            return _scaled(value, 1000.0) + (f" {thing}" if counted else _SUFFIXES.get(unit, ""))


def _duration(seconds: float) -> str:
    if seconds == 0 or abs(seconds) >= 1:
        return f"{_digits(seconds)} s" if abs(seconds) < 120 else f"{_digits(seconds / 60)} min"
    return f"{_digits(seconds * 1000)} ms" if abs(seconds) >= 0.001 else f"{_digits(seconds * 1e6)} µs"


def _scaled(value: float, base: float) -> str:
    power = 0
    while abs(value) >= base and power + 1 < len(_THOUSANDS):
        value, power = value / base, power + 1
    prefix = _THOUSANDS[power]
    return _digits(value) + (prefix if base == 1000 or not prefix else f"{prefix}i")


def _digits(value: float) -> str:
    if value == 0:
        return "0"
    places = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text

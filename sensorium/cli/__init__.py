"""`sensorium …` on the command line: every RPC of the contract as a command."""

import sys


def main() -> None:
    """Runs the command line. Ends the process: 0 done, 1 the server refused, 2 wrong usage, 130 interrupted."""
    try:
        from sensorium.cli.app import run
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in {"typer", "rich", "prometheus_client"}:
            raise
        print("The command line needs its extra: pip install 'sensorium[cli]', in a checkout '.[cli]'", file=sys.stderr)
        raise SystemExit(1) from None
    run()

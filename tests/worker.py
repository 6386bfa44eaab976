"""What a forked worker of pytest-xdist runs."""

import atexit
from multiprocessing import forkserver, resource_tracker

from execnet import gateway_io

if __name__ == "__main__":  # and not where the processes that it forks import what it ran
    # Python knows in a fork what forked it, but would start another fork server there.
    forkserver._forkserver.ensure_running = resource_tracker.ensure_running
    try:
        exec(gateway_io.popen_bootstrapline)
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out

"""Lets pytest-xdist fork its workers from a process that has imported what they would import, each for itself.

They fork the processes of their tests from it too.
"""

import subprocess
import sys
from collections.abc import Sequence

from execnet import gateway_io
from execnet.gateway_base import ExecModel, Popen2IO

from local import nursery
from tests.forks import Forked


class _ForkedIO(gateway_io.Popen2IOMaster):
    """A worker and the pipes to it."""

    def __init__(self, args: Sequence[str], execmodel: ExecModel) -> None:
        assert args[-1] == gateway_io.popen_bootstrapline
        self.popen = Forked([sys.executable, "-m", "tests.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        Popen2IO.__init__(self, self.popen.stdin, self.popen.stdout, execmodel)


def fork_workers() -> None:
    """From now on, execnet forks the processes that it is asked for."""
    nursery._PRELOADED.insert(1, "tests.preloaded")
    gateway_io.Popen2IOMaster = _ForkedIO

"""`python -m gateway`."""

import sys

from gateway.app import serve
from gateway.config import GatewaySettings
from sensorium import rpc

if __name__ == "__main__":
    sys.exit(rpc.main(GatewaySettings, serve, program="python -m gateway"))

"""The boards, one file for each; other files hold rows of them."""

from k8s.monitoring.boards.gateway import GATEWAY
from k8s.monitoring.boards.model_server import MODEL_SERVER
from k8s.monitoring.boards.slo import SLO

BOARDS = (GATEWAY, MODEL_SERVER, SLO)

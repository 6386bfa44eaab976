"""Which calls come in, when, and in what order: queues with bounds, fairness between tenants, cold starts."""

from gateway.admission.admission import Admission
from gateway.admission.ask import BANDS, Ask
from gateway.admission.lease import Lease

__all__ = ["BANDS", "Admission", "Ask", "Lease"]

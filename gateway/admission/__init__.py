"""Admission of calls: bounded queues, fairness between tenants, priorities, and cold starts of pools."""

from gateway.admission.admission import Admission
from gateway.admission.ask import BANDS, Ask
from gateway.admission.lease import Lease

__all__ = ["BANDS", "Admission", "Ask", "Lease"]

"""Fair sharing between tenants: counts what each has consumed, so that the one with the least goes next."""

from heapq import nlargest

_REMEMBERED = 1024


class Shares:
    """An account for each tenant, in tokens (or in calls, for tasks that report no tokens).

    An account is never below that of the tenant served last, so an idle tenant does not save up turns. A call is
    charged an estimate when it begins and the difference when it ends, as its cost is known only then.
    """

    def __init__(self) -> None:
        self._accounts: dict[str, float] = {}
        self._current = 0.0
        """The account of the tenant served last, before that call was charged."""

    def account(self, tenant: str) -> float:
        """Returns the tenant's account; the lowest goes first."""
        return max(self._accounts.get(tenant, 0.0), self._current)

    def serve(self, tenant: str, cost: float) -> None:
        """Charges the estimated cost of a call that begins."""
        self._current = self.account(tenant)
        self._accounts[tenant] = self._current + cost
        if len(self._accounts) > 2 * _REMEMBERED:
            # Callers choose tenant names without bound. Low accounts may be dropped: they count as `_current` anyway.
            self._accounts = dict(nlargest(_REMEMBERED, self._accounts.items(), key=lambda item: item[1]))

    def settle(self, tenant: str, difference: float) -> None:
        """Charges the actual minus the estimated cost of a call, which may be negative."""
        if tenant in self._accounts:
            self._accounts[tenant] += difference

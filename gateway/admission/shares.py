"""What each tenant has been given, so that all get equally much while they compete."""

from heapq import nlargest

_REMEMBERED = 1024


class Shares:
    """Counts what tenants were given, in tokens or in whatever calls are charged in.

    A tenant's account stands at least at that of the one served last, so that nobody saves up turns while away; it is
    charged an estimate when a call begins and the rest when it has ended, since what a call costs is known only then.
    """

    def __init__(self) -> None:
        self._accounts: dict[str, float] = {}
        self._now = 0.0
        """The account of the tenant served last, as it stood before."""

    def account(self, tenant: str) -> float:
        """Returns what a tenant has had; the least goes first."""
        return max(self._accounts.get(tenant, 0.0), self._now)

    def serve(self, tenant: str, cost: float) -> None:
        """Charges a call that begins with what it is expected to cost."""
        self._now = self.account(tenant)
        self._accounts[tenant] = self._now + cost
        if len(self._accounts) > 2 * _REMEMBERED:
            # Callers name tenants, without bound. Who had most is to be remembered: the others stand at `_now` anyway.
            self._accounts = dict(nlargest(_REMEMBERED, self._accounts.items(), key=lambda item: item[1]))

    def settle(self, tenant: str, difference: float) -> None:
        """Charges what a call cost beyond, or below, what was expected."""
        if tenant in self._accounts:
            self._accounts[tenant] += difference

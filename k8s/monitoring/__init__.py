"""Rules and boards, as code: `python -m k8s.monitoring` writes what is committed beside it."""

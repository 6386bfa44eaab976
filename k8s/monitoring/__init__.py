"""Prometheus rules and Grafana boards as code. `python -m k8s.monitoring` writes the generated files beside it."""

"""The boards of k8s/monitoring drawn as SVG, as Grafana would lay them out."""

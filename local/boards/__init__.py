"""Draws the boards of k8s/monitoring as SVG, laid out as in Grafana."""

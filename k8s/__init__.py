"""What runs sensorium on Kubernetes, and watches it."""

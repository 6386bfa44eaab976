"""The replicas of all services: which exist, which are healthy, which models they serve, and which gets a call."""

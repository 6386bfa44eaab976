"""Relays each call to an endpoint as raw bytes: retries, resumption of streams, deadlines and metadata."""

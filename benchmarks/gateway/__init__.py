"""Measures what the gateway costs a service behind it."""

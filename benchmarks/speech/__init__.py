"""Benchmarks of the speech service."""

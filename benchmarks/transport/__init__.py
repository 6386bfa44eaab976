"""Measures the CPU cost of streamed messages."""

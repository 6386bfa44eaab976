"""Estimates the depth of each pixel: EstimateDepth."""

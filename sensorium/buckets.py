"""Edges of the histograms that gateway and services export under one name, so that their buckets can be added up."""

FIRST_TOKEN_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0)
DURATION_SECONDS = tuple(0.01 * 2**exponent for exponent in range(16))
PER_TOKEN_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5)

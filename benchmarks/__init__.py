"""Benchmarks behind every speed we claim, beside peers: `python -m benchmarks.NAME`, for each folder here.

The files beside the folders are shared by the benchmarks: starting and calling programs and engines, measuring CPU
time and other load of the machine, and printing tables.
"""

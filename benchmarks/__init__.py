"""Every speed we claim, measured beside its peers: `python -m benchmarks.NAME`, for each folder here.

The files beside the folders are what benchmarks share: how programs and engines are started and asked, what they take
of the processor, what else the machine does, and how tables are printed.
"""

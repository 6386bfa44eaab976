"""One model over the GPUs of a machine, by its own plan: each rank is a process that holds a part of the weights.

The first rank serves. It tells the others the rows of each step, and all run the same forward, each over its own part
and its own heads' pages. Without GPUs the ranks are processes on the CPU, so that all of it is tested anywhere.
"""

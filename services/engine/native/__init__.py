"""What is computed in C on the CPU: linear layers, norms, rotation, attention. Compiled for the machine at first use.

`library` compiles and loads, `arena` holds weights, `linear` is a layer. Where there is no compiler, torch does it all.
"""

"""The kernels of a GPU's steps, compiled where there is none: what they take of it, what instructions they became."""

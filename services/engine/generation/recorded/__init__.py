"""Steps recorded as CUDA graphs, and launched before the tokens of the step in front of them are read."""

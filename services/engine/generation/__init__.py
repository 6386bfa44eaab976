"""The generation engine: its own scheduler, KV cache and sampler over an unmodified causal language model.

Reading order: `requests` (what goes in and comes out), `engine` (a step), `group` and `sequence`, `scheduler` and
`cache`, `running` and `attention`, `sampling`, `output`; then `building` (what happens at load), `speculation` and
`recorded` (steps of a GPU). `requests` and `output.stream` are torch-free: they are what servicers see.
"""

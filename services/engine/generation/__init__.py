"""The generation engine: its own scheduler, KV cache and sampler over an unmodified causal language model.

Reading order: `request` (what goes in and comes out), `engine` (a step), `group` and `sequence`, `scheduler`, `runner`
and `attention`, `choice`, `sampler` and `beam_search`, `output`, `stream`. `request`, `resolution` and `stream` are
torch-free: they are what servicers see.
"""

"""Batches of items for models that read once and answer: what every task but generation runs on.

batcher    one thread that owns the model and takes all items through it
queue      whose items are next, and which go together
job        the items of one request, and what became of them
admission  how much may wait, and for how long
wanted     whether anybody still waits for what the model works on
"""

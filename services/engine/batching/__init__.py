"""Dynamic batching for models that are run once per request, which is every task but generation.

batcher    one thread that runs the model on all items
queue      which items are next, and which of them share a batch
pace       how much of what waits goes together
job        the items of one request, and their outputs
numbers    whether a model's results are NaN
admission  the bounds of the queue, and the expected wait
wanted     stops the model when nobody waits for its result any more
"""

"""Models that read images once and answer. They run on `services.engine.batching`.

loading  a model with its image processor
reader   from the bytes of an image to what the model reads
runner   batches of images through the model
"""

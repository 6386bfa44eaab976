"""Image models that answer with one forward pass. They run on `services.engine.batching`.

loading  loads a model with its image processor
reader   decodes an image file and prepares the model's inputs
runner   runs the model on batches of images
"""

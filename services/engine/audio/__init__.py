"""Models that read audio. They run on `services.engine.batching`.

loading  a model with its feature extractor
reader   from the bytes of a recording to what the model reads
runner   batches of recordings through the model
frame_model, ctc, transducer   models that write by frames of sound
"""

"""Models that read audio in one forward pass, run in batches by `services.engine.batching`.

loading      a model with its feature extractor
reader       from the bytes of a recording to the model's inputs
runner       batches of recordings through the model; `search_runner` for searches of unknown length
habits       measures what the model accepts: shortest input, padding
frame_model  the interface of frame models: `ctc`, `transducer`; `frame_count` measures their frames
windows      long recordings in overlapping windows
emissions    from tokens of frames to text and timed `words`
vectors      one embedding for each recording
extractors, tensor_sounds   feature extractors that need torchaudio, without it
"""

"""Transcribe for models that write plain text for each window.

Multimodal decoders are prompted (`dictation_*`, engine side `services.engine.dictation`); encoder-decoders without
timestamps (`scribe_*`, engine side `services.engine.listening.scribe`) get the options as first tokens of the decoder.
"""

"""Synthesize and StreamSynthesize: text to audio, sentence by sentence.

The engine's side is `services.engine.speech_synthesis`.
"""

"""Transcribe and StreamTranscribe for models that read audio and write tokens in lockstep.

The engine's side is `services.engine.following`.
"""

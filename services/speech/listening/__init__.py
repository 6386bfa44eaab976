"""Transcribe for Whisper and its like: windows of fixed length, timestamps among the tokens.

The engine's side is `services.engine.listening`.
"""

"""Multimodal decoders that are prompted to transcribe a recording.

manner      how a kind of model is prompted and its answers are parsed; `manners` has the known kinds
objects     parses answers that are JSON lists of segments
dictation   a loaded model with its manner: builds prompts from samples
"""

"""Streaming recognizers, which write one token for each frame of audio as it arrives (Kyutai STT, Voxtral Realtime).

model             the interface of such a model, and the state of one utterance in it
kyutai, voxtral   the known kinds; `loading` loads them
row_cache         KV cache with one row for each utterance
sound_buffer      an utterance's samples that are still to be read
session, seats    an utterance in the engine, and which utterances have rows
engine            the thread that owns the model and steps all ready utterances together
stream            the event loop's side of one utterance
"""

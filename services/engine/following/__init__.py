"""Models that write while they hear: a token for each frame of sound, as it comes (Kyutai STT, Voxtral Realtime).

model             what such a model is, and one utterance on its way through it
kyutai, voxtral   the kinds that are known
row_cache         keys and values of several utterances side by side
sound_buffer      the samples of one that are still to be read
engine            the thread that owns the model, and takes utterances further together
"""

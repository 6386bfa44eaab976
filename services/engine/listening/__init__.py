"""Encoder-decoders that write what they hear (Whisper and its kin), on the generation engine.

tokens     the vocabulary's words for languages, tasks and times
loading    a model with its feature extractor and its tokens
hearing    a window of sound in the place of a prompt, and what is learned of it on the way
encoder    windows through the encoder
runner     decoders, with an ear for silence, language and the places of words
build      the engine, checked against the model
features   long recordings as features
segments   from tokens to stretches with times
alignment  from attention to the times of tokens
grouping   from tokens to words

And those that hear windows of any length and tell no times (Moonshine, Speech2Text, Cohere ASR, Canary, SeamlessM4T):

scribe       a model with its feature extractor
openings     what its decoder starts with, by kind and language
state_count  how many states a window comes to
interface    lets SpeechT5's decoder attend to what lies in pages
places       what Moonshine Streaming leaves to its decoder and to its processor
"""

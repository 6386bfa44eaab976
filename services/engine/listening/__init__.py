"""Speech encoder-decoders on the generation engine: Whisper and its kin.

tokens     ids of control tokens: languages, tasks, timestamps
loading    a model with its feature extractor and its tokens
hearing    a window of audio as a sequence's source, and what is recorded of it
encoder    runs windows through the encoder
runner     runs decoders, and records no-speech and language probabilities and cross-attention
build      builds the engine and checks it against the model
features   mel features of recordings of any length
segments   from tokens to segments with times
alignment  from cross-attention to token times
grouping   from tokens to words

Models that read windows of any length and write no timestamps (Moonshine, Speech2Text, Cohere ASR, Canary,
SeamlessM4T, SpeechT5):

scribe       a model with its feature extractor
openings     the decoder's first tokens, by kind and language
state_count  the number of encoder states of a window
interface    makes SpeechT5's attention use the paged cache
places       moves Moonshine Streaming's position embeddings from the decoder to the encoder
"""

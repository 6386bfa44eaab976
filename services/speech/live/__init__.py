"""Live transcription: audio in, what is said out, while it is spoken.

intake          bytes to samples at the model's rate
voice_network   how likely a frame is speech; `voice_detector` is one stream's
endpointing     when utterances begin and end
hearing         all of these: bytes to utterances
agreement       what of an utterance is stable while it grows; `transcript` makes results of it
stream          the life of one stream
"""

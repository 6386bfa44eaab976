"""Live transcription (StreamTranscribe): audio comes in, results go out while somebody speaks.

live_ask, live_checks, live_conversion   the configuration as plain values, its checks, and protobuf
stream_transcribe  the verb: admits streams and wires each of them
stream         the life of one stream: a task that reads audio and a task that asks the model
intake         decodes bytes and resamples them to the model's rate
voice_network  voice activity detection; `voice_detector` holds the state of one stream
endpointing    decides when utterances begin and end
hearing        all of these: from bytes to utterances
utterance_reader, utterance_follower   interim and final results of one utterance, by the kind of model
agreement      which words of a growing utterance are stable; `transcript` turns them into results
"""

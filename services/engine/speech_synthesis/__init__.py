"""Text to speech, sentence by sentence, each streamed in windows of audio.

engine     one thread that owns the model; requests take turns
speech, stream   a request in the engine, and its event loop's side
model      the interface of synthesizers; `loading` loads them
sentences  splits texts; `reading` tokenizes the pieces
draws      the random state of one sentence, independent of others
vocoder    decodes frames to audio in windows; `causal_codec` for codecs without lookahead
vits, speecht5   models that make frames or spectrograms
csm, dia, bark, higgs, pocket   models that generate codes or latents with the library's own `generate`
musicgen   music and sound from descriptions, likewise
scores     ends a sentence whose scores are NaN
own_loop   runs that `generate` in turns, by `turns`; `frame_list` collects its frames
bark_voices, pocket_voices, higgs_prompt, higgs_codec   parts of one kind each
"""

"""Text to speech: sentence after sentence, and window after window of each.

sentences  a text as pieces that are spoken one after the other
vits       one kind of model; speecht5 another
vocoder    the part they share, taken in windows
musicgen   sound and music that a text describes, by the library's own loop
csm        speech as codes, by that loop; dia and bark others, bark_voices what that has of voices
pocket     speech as latents, by that loop too
higgs      another, asked with higgs_prompt, whose sound higgs_codec makes
own_loop   how that loop is taken, by turns, its frames in frame_list
causal_codec  sound of codes as soon as there are some, of a codec that never looks ahead
draws      the random numbers of one sentence, whoever else speaks meanwhile
engine     one thread that owns the model and lets requests speak by turns
stream     what the event loop sees of one of them
"""

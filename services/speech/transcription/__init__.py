"""What all models that transcribe share.

transcribe_ask, transcribe_checks, transcribe_conversion   a request as plain values, its checks, and protobuf
transcribe_frames    Transcribe for CTC and transducer models, which write by frames of audio
window_reading       the tokens that a generating model wrote for one window; `writing_options` how it generates them
writing_service      wires a generating model into the process
recording_cuts       cuts long recordings at pauses; `held_seconds` and `queue_waiting` bound what is in progress
text_words           splits texts into words
"""

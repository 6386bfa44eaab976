"""The speech service: one model that reads or writes audio behind SpeechService."""

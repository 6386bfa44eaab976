"""Generated stubs of the contract, one module per .proto file. Made by `python protos/generate.py`; never edited."""

"""gRPC over HTTP/2 on the event loop (ADR 31, 51): a server in place of `grpc.aio`'s, and a channel of raw messages.

Frames that are made in one turn of the loop leave in one write, so that a message of a stream costs little beside what
it says. Header compression is hpack's.
"""

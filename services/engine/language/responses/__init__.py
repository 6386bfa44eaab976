"""Takes apart what a chat model writes: its reasoning, the content of its answer, and its tool calls, as a stream."""

"""What a streamed message costs a server's processor."""

"""Models that generate from conversations with images and recordings: Generate, and captions and answers as chats."""

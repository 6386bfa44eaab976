"""Models that write about one picture, which their decoder sees besides the tokens before it."""

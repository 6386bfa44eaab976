"""From tokens to what a stream tells: text in whole characters, stop strings, deltas, and who hears them when."""

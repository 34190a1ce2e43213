"""Give plugin authors what they need to test and demonstrate a plugin."""

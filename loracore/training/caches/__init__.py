"""Pictures and captions encoded once, and what is taken over from other files."""

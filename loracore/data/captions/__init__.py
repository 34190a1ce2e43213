"""What captions say, and what of it the text encoders read."""

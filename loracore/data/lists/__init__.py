"""Pictures and captions as lists of the field name them."""

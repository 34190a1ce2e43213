"""What networks are made of: adapters in front of layers, and sets of them; no kind of network lives here."""

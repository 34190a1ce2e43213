"""A kind of network that `lycoris` builds with algo=glora; it has no options of its own."""

"""A kind of network that `lycoris` builds with algo=full; it has no options of its own."""

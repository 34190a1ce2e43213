"""A kind of network that `lycoris` builds with algo=ia3; it has no options of its own."""

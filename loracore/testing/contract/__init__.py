"""The contract of plugins, checked: one call for an architecture, a network or an extension."""

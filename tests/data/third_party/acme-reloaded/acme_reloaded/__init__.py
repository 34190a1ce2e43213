"""A fork of somebody's architecture under the same name; nothing of it is ever imported."""

raise AssertionError("a name that two packages claim is refused before either is imported")

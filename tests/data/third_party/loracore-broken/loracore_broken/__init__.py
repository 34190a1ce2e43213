"""A plugin that cannot be imported here, as happens to plugins that were built for another machine."""

LORACORE_API = 1

raise RuntimeError("the moon is in the wrong house")

"""The content-addressed store of cached tensors: shards on disk that runs share, or the same in memory."""

"""Pictures and captions: found, put into buckets, cached, and handed over in batches."""

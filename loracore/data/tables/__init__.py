"""What one scan of a folder found, as columns that are kept between runs."""

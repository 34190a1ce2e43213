"""Results sent to the Hugging Face hub, and states fetched from there."""

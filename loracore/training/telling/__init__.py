"""What is told of a run: its console, its log of events, its trackers."""

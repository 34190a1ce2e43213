"""What watches over a run: steps that are skipped, adapters that do not move, memory that runs out."""

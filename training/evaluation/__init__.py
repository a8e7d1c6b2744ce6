"""What an evaluation measures, and what it measures beside."""

"""What runs in child processes: code that users bring, and readers of files that nobody vouches for."""

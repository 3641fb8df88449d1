"""What every room runs on: clock, safety thread, service thread, scrubbing, and where our own failures end."""

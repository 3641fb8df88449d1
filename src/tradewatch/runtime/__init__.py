"""What every room runs on: clock, safety thread, service thread, scrubbing, and the place where our own failures end."""

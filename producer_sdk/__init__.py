"""What clients install: submit jobs, follow their streams, collect their results."""

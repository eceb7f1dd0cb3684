"""Providers that misbehave on command, for the demo, the tests and the benchmarks."""

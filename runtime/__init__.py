"""What every process stands on: bus, clock, lifecycle, settings, telemetry."""

"""The wire: every message, subject and stream name that processes and clients exchange."""

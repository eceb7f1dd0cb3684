"""Batch APIs in a worker: ``desk`` collects, waits and takes over, ``way`` calls, ``notes`` survive the worker."""

"""Traces by OpenTelemetry, for who wants them: an attempt or a job is observed once, when it has ended, and told.

``observations`` what is told of them · ``conventions`` its attributes, by the version of the GenAI conventions (pure) ·
``exporter`` observations become spans, the only room that knows OpenTelemetry · ``exporting`` sets that up from the
configuration. Where a job hangs in a trace stands in ``job_contracts.tracing``.
"""

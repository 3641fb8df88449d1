"""From a call of a client to readings, metrics and spans.

The bot's thread counts the call into a cell and appends one record to the journal (`probe`, `cell`, `journal`); the
safety thread reads the journal; the service thread turns records into OpenTelemetry's spans and metrics (`emit`).
"""

"""How the worker fares: one picture of it for `status`, /healthz, /readyz and /metrics."""

"""HTTP: the only place that knows asyncio, FastAPI and CompreFace's JSON."""

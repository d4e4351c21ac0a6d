"""Knownface: a self-hosted face recognition server, a drop-in replacement for CompreFace."""

__version__ = "0.1.0"

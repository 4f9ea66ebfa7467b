"""m2mproxy: an OpenAI-compatible reverse proxy that makes LLM API traffic small on the wire."""

__version__ = "0.1.0"

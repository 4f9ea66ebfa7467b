"""The program around the proxy: start, signals, drain, log, figures."""

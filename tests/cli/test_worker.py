"""`logloom worker` before it serves: a real process, and a broker that never answers."""

import socket

from tests.integration.worker_process import running


def test_sigterm_ends_what_is_only_starting() -> None:
    """A worker that is told to stop while it still looks for the broker ends at once, with 0.

    Without a handler it would end by the signal, and as a container's first process not at all.
    """
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = {"KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{silent.getsockname()[1]}", "TOPICS": "app.raw"}
        environment = {f"LOGLOOM_{name}": value for name, value in settings.items()}
        with running(environment, is_ready=False) as worker:
            connection, _ = silent.accept()
            with connection:
                assert worker.terminate() == 0

"""The process that `pantler.testing` starts: `pantler serve`, until the end of its standard input.
That comes when the tests end, in whatever way they do."""

import os
import signal
import sys
import threading


def _stop_at_the_end_of_input() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    from pantler_server.cli import main

    threading.Thread(target=_stop_at_the_end_of_input, daemon=True).start()
    sys.argv = ["pantler", "serve", *sys.argv[1:]]
    main()

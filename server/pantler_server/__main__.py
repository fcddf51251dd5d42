"""`python -m pantler_server` is `pantler`."""

from pantler_server.cli import main

main()

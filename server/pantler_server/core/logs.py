"""What is logged, and how: structlog, to standard error."""

import logging
import sys

import structlog

from pantler_server.core.config import LogConfig


def configure_logs(config: LogConfig, **context: object) -> None:
    """Puts the configuration in force; `context` stands in every line of this process."""
    as_json = config.format == "json" or (config.format == "auto" and not sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if as_json else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[config.level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(
            sys.stderr
        ),  # a line is one write: processes share it
        cache_logger_on_first_use=False,  # a reload may change the level
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**context)

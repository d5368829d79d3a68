"""A server for many cameras: processes that step their streams, a live page, an HTTP interface."""

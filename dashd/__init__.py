"""dashd: the daemon that supervises swarms of coding agents."""

__version__ = "0.1.0"

"""``setwise demo``."""


def demo() -> None:
    """Show."""

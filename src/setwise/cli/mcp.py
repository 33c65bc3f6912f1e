"""``setwise mcp``: sets for assistants, over the Model Context Protocol."""

from __future__ import annotations

import contextlib

from setwise.cli.options import described
from setwise.cli.serve import SERVED


@described(also=SERVED)
def mcp(index: list[str] | None = None, model: str = "auto") -> None:
    """Offer retrieve, select and explain to an assistant that starts this command (MCP over stdio)."""
    import warnings

    from setwise.extras import needs

    with needs("serve", "the MCP tool"):
        from setwise.serve import Settings
        from setwise.serve.mcp import mcp_server
        from setwise.serve.service import Service
        from setwise.serve.settings import named_indexes

    service = Service(Settings(indexes=named_indexes(index or []), model=model))
    warnings.simplefilter("ignore", UserWarning)
    with contextlib.closing(service), contextlib.suppress(KeyboardInterrupt):
        mcp_server(service).run()

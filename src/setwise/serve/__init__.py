"""The HTTP service and the MCP tool: sets for clients that never import setwise."""

from setwise.extras import needs

with needs("serve", "the service"):
    from setwise.serve.app import create_app
    from setwise.serve.settings import Limits, Settings

__all__ = ["Limits", "Settings", "create_app"]

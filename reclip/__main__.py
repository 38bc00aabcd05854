import os
import sys

if os.environ.get("RECLIP_WARM"):
    from reclip.cli import fork_server

    if (code := fork_server.run()) is not None:
        sys.exit(code)

from reclip.cli.main import main

main()

import os
import sys

if os.environ.get("RECLIP_WARM"):
    from reclip import warm

    if (code := warm.run()) is not None:
        sys.exit(code)

from reclip.cli import main

main()

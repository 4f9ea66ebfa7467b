"""`python -m m2mproxy` is the `m2mproxy` command."""

import sys

from m2mproxy.cli.daemon import main

sys.exit(main())

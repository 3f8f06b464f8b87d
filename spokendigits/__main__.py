"""`python -m spokendigits`, and `accelerate launch -m spokendigits`."""

import sys

from spokendigits.app.cli import main

sys.exit(main())

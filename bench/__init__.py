"""What Knownface costs: every figure beside a peer or a limit that was measured in the same run.

`make bench` runs all of it on the machine it is on, `make bench QUICK=1` a tenth. A ratio travels
from machine to machine; a number of milliseconds does not.
"""

import os

# ONNX Runtime, which a peer is run with, would tell its maker of each start.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

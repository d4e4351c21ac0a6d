"""What Knownface costs: every figure beside a peer or a limit that was measured in the same run.

`make bench` runs all of it on the machine it is on, `make bench QUICK=1` a tenth. A ratio travels
from machine to machine; a number of milliseconds does not.
"""

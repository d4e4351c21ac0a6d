"""What people do with applications, services and keys, each according to his role.

Every use case takes who asks for it. What somebody may not even see is not found; what he may see
but not do is Forbidden. None in the place of somebody is the operator at the server's own command
line, who may do everything that is possible at all.
"""

from __future__ import annotations

from knownface.administration.use_cases import Administration
from knownface.administration.values import SAME, Listing, Made, Part, Same, usable_title

__all__ = ["SAME", "Administration", "Listing", "Made", "Part", "Same", "usable_title"]

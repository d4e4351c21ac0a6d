"""What tests share, by subject: each plugin is a module beside this one."""

from __future__ import annotations

import os

# Some tests run models without the program, which switches this off by itself.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

pytest_plugins = ["databases", "mail_server", "measuring", "schedulers"]

"""What tests share, by subject: each plugin is a module beside this one."""

from __future__ import annotations

pytest_plugins = ["databases", "mail_server", "measuring"]

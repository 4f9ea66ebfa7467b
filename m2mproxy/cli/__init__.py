"""The two commands: what they are asked, and with which code they end."""

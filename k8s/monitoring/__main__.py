"""Writes rules and boards: `python -m k8s.monitoring`."""

from k8s.monitoring.files import contents

for path, text in contents().items():
    path.write_text(text)

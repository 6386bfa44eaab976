"""`python -m k8s.monitoring`: writes all rule files and boards."""

from k8s.monitoring.files import contents

for path, text in contents().items():
    path.write_text(text)

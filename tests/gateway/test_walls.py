import subprocess
import sys


def test_the_gateway_imports_neither_services_nor_torch():
    code = (
        "import sys, gateway.app, gateway.__main__\n"
        "walls = {'services', 'torch', 'transformers', 'numpy', 'kubernetes'}\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & walls))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""`python -m services.engine.native` compiles the library for every level of this architecture, for an image."""

from services.engine.native.library import build_levels

if __name__ == "__main__":
    for path in build_levels():
        print(path)

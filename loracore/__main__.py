"""``python -m loracore``."""

from loracore.cli.main import main

if __name__ == "__main__":
    main()

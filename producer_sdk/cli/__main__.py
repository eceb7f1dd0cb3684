"""``python -m producer_sdk.cli`` is the command ``penstock``."""

from producer_sdk.cli import main

if __name__ == "__main__":
    main()

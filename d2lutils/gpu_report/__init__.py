"""What the PyTorch half does on a card, in one command: ``gpu-report``."""

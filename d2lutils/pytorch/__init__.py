"""The PyTorch half; its mirror has the same files and names."""

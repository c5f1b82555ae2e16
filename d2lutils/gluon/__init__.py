"""The Gluon (MXNet) half; its mirror has the same files and names."""

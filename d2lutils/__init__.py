"""Utilities of the book: a framework-free core and two mirrored halves.

Importing this package imports no framework. ``d2lutils.gluon`` needs MXNet only,
``d2lutils.pytorch`` needs PyTorch only, and the two mirror each other: same files,
same classes, same argument names, same order.
"""

__version__ = "0.1.0"

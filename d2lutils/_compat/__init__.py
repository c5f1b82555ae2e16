"""The parts of the bridge to MXNet; the way in is :mod:`d2lutils.compat`."""

"""The parts of the bridge to MXNet; the way in is :mod:`d2lutils.compat`."""

#: The platforms that MXNet 1.9.1 has wheels for.
WHEELS = {("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "x86_64")}

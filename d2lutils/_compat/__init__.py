"""The parts of the bridge to MXNet; :mod:`d2lutils.compat` is its entry point."""

#: The platforms with wheels of MXNet 1.9.1.
WHEELS = {("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "x86_64")}

#!/usr/bin/env python3
"""Allocates managed, pinned and device memory through HIP, and checks copies between them.

Python's standard library only: HIP is called through ctypes. ctypes opens libamdhip64 with
dlopen(RTLD_LOCAL) and looks functions up with dlsym, as most Python extensions do, so a
preloaded library does not see the hip* calls made here. It does see the hsa_* calls that
libamdhip64 then makes: managed memory is handled there, pinned memory is not.

Usage: managed.py [--size BYTES]

Exit code: 0 if every byte came through, 1 if not, 2 where there is no HIP or no GPU.
"""

import argparse
import ctypes
import sys

LIBRARIES = ("libamdhip64.so", "libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5")
MEM_ATTACH_GLOBAL = 1
COPY_HOST_TO_DEVICE = 1
COPY_DEVICE_TO_HOST = 2


class HipError(Exception):
    """A HIP call that did not return hipSuccess."""


def load_hip():
    """Opens the HIP runtime, whichever release is installed."""
    reasons = []
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            reasons.append(str(error))
    raise OSError("\n  ".join(["none of these opens:", *reasons]))


class Hip:
    """The few HIP functions that this program needs, with their C types."""

    def __init__(self, library):
        pointer = ctypes.c_void_p
        pointer_out = ctypes.POINTER(ctypes.c_void_p)
        size = ctypes.c_size_t
        flags = ctypes.c_uint
        signatures = {
            "hipGetDeviceCount": [ctypes.POINTER(ctypes.c_int)],
            "hipMalloc": [pointer_out, size],
            "hipMallocManaged": [pointer_out, size, flags],
            "hipHostMalloc": [pointer_out, size, flags],
            "hipMemcpy": [pointer, pointer, size, ctypes.c_int],
            "hipDeviceSynchronize": [],
            "hipFree": [pointer],
            "hipHostFree": [pointer],
        }
        self._functions = {}
        for name, arguments in signatures.items():
            function = getattr(library, name)
            function.argtypes = arguments
            function.restype = ctypes.c_int
            self._functions[name] = function
        library.hipGetErrorName.argtypes = [ctypes.c_int]
        library.hipGetErrorName.restype = ctypes.c_char_p
        self._error_name = library.hipGetErrorName

    def call(self, name, *arguments):
        """Calls a function; a code other than hipSuccess is an exception."""
        code = self._functions[name](*arguments)
        if code != 0:
            raise HipError(f"{name} returned {code} ({self._error_name(code).decode()})")

    def allocate(self, label, name, *arguments):
        """Calls an allocating function between marks and returns the address."""
        address = ctypes.c_void_p()
        mark(f"> {label}")
        code = self._functions[name](ctypes.byref(address), *arguments)
        mark(f"< {label} = {code}")
        if code != 0:
            raise HipError(f"{label} returned {code} ({self._error_name(code).decode()})")
        print(f"{label}: {arguments[0]} bytes at {address.value:#x}")
        return address


def find_mark():
    """The marking function of libkfdsim.so, where that is preloaded."""
    try:
        function = ctypes.CDLL(None).kfdsim_mark
    except AttributeError:
        return lambda text: None
    function.argtypes = [ctypes.c_char_p]
    function.restype = None
    return lambda text: function(text.encode())


mark = find_mark()


def pattern(size, seed):
    """Bytes that differ from page to page and from seed to seed."""
    row = bytes((seed + 7 * i) % 251 for i in range(251))
    return (row * (size // len(row) + 1))[:size]


def check(label, address, expected):
    """Whether the CPU reads what it should."""
    if ctypes.string_at(address.value, len(expected)) == expected:
        print(f"{label}: {len(expected)} bytes right")
        return True
    print(f"{label}: WRONG BYTES")
    return False


def run(hip, size):
    """Allocates, copies, checks. Returns whether every byte was right."""
    managed = hip.allocate("hipMallocManaged", "hipMallocManaged", size, MEM_ATTACH_GLOBAL)
    pinned = hip.allocate("hipHostMalloc(Default)", "hipHostMalloc", size, 0)
    device = hip.allocate("hipMalloc", "hipMalloc", size)
    right = True
    for source, target, names, seed in (
        (managed, pinned, "managed -> device -> pinned", 1),
        (pinned, managed, "pinned -> device -> managed", 2),
    ):
        data = pattern(size, seed)
        ctypes.memmove(source.value, data, size)
        ctypes.memset(target.value, 0, size)
        hip.call("hipMemcpy", device, source, size, COPY_HOST_TO_DEVICE)
        hip.call("hipMemcpy", target, device, size, COPY_DEVICE_TO_HOST)
        hip.call("hipDeviceSynchronize")
        right &= check(names, target, data)
    hip.call("hipFree", device)
    hip.call("hipHostFree", pinned)
    hip.call("hipFree", managed)
    return right


def main():
    """Parses the command line and runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4 << 20, help="bytes per allocation")
    size = parser.parse_args().size
    if size <= 0:
        parser.error(f"--size {size}: must be above 0")

    try:
        hip = Hip(load_hip())
    except OSError as error:
        print(f"managed.py: no HIP runtime: {error}", file=sys.stderr)
        return 2
    count = ctypes.c_int(0)
    try:
        hip.call("hipGetDeviceCount", ctypes.byref(count))
    except HipError as error:
        print(f"managed.py: no GPU: {error}", file=sys.stderr)
        print(
            "To run it without one: rdnafix sim -- python3 examples/managed.py",
            file=sys.stderr,
        )
        return 2
    try:
        right = run(hip, size)
    except HipError as error:
        print(f"managed.py: {error}", file=sys.stderr)
        return 1
    print("DONE" if right else "FAILED")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())

"""Uses CuPy as its users do: memory of the GPU, pinned memory, managed memory, arrays."""

import ctypes
import hashlib

import cupy
import numpy

SIZE = 16 << 20

mark = getattr(ctypes.CDLL(None), "kfdsim_mark", lambda text: None)
runtime = cupy.cuda.runtime


def allocate(what, call, *arguments):
    mark(f"> {what}".encode())
    memory = call(*arguments)
    mark(f"< {what} = 0".encode())
    print(f"{what}: {type(memory).__name__}")
    return memory


print("gpus:", runtime.getDeviceCount(), runtime.getDeviceProperties(0)["gcnArchName"].decode())
runtime.deviceSynchronize()

data = numpy.random.default_rng(1).integers(0, 256, SIZE, dtype=numpy.uint8)

device = allocate("device", cupy.cuda.alloc, SIZE)
# CuPy asks for portable memory, which HIP gives non-coherent.
pinned = allocate("pinned", cupy.cuda.alloc_pinned_memory, 2 * SIZE)
# The runtime's default, which is coherent.
plain = allocate("pinned, flags 0", runtime.hostAlloc, SIZE, 0)
managed = allocate("managed", cupy.cuda.malloc_managed, SIZE)

halves = numpy.frombuffer(pinned, numpy.uint8, 2 * SIZE).reshape(2, SIZE)
halves[0] = data
for name, memory in (("device", device), ("managed", managed)):
    array = cupy.ndarray(SIZE, cupy.uint8, memory)
    array.set(halves[0])
    halves[1] = 0
    array.get(out=halves[1])
    same = numpy.array_equal(halves[0], halves[1])
    print(f"round trip of {SIZE} bytes, {name}:", "right" if same else "WRONG")
    assert same

# The CPU reads managed memory without a copy.
seen = (ctypes.c_ubyte * SIZE).from_address(managed.ptr)
assert hashlib.sha256(seen).digest() == hashlib.sha256(data).digest()

# Memory of the runtime by its address, from the default pinned memory.
ctypes.memmove(plain, data.ctypes.data, SIZE)
runtime.memcpy(device.ptr, plain, SIZE, runtime.memcpyHostToDevice)
ctypes.memset(plain, 0, SIZE)
runtime.memcpy(plain, device.ptr, SIZE, runtime.memcpyDeviceToHost)
assert ctypes.string_at(plain, SIZE) == data.tobytes()
print(f"round trip of {SIZE} bytes, pinned with flags 0: right")
runtime.freeHost(plain)

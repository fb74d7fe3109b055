"""Allocates through hip-python, which finds HIP's functions with dlopen and dlsym."""

import ctypes

from hip import hip

SIZE = 16 << 20

mark = getattr(ctypes.CDLL(None), "kfdsim_mark", lambda text: None)


def check(result):
    status, *rest = result if isinstance(result, tuple) else (result,)
    assert status == hip.hipError_t.hipSuccess, status
    return rest[0] if rest else None


def allocate(what, call, *arguments):
    mark(f"> {what}".encode())
    memory = check(call(*arguments))
    mark(f"< {what} = 0".encode())
    print(f"{what}: {SIZE} bytes")
    return memory


print("gpus:", check(hip.hipGetDeviceCount()))
check(hip.hipDeviceSynchronize())
device = allocate("device", hip.hipMalloc, SIZE)
pinned = allocate("pinned", hip.hipHostMalloc, SIZE, 0)
managed = allocate("managed", hip.hipMallocManaged, SIZE, 1)

data = bytes(range(251)) * (SIZE // 251) + bytes(SIZE % 251)
for name, memory in (("pinned", pinned), ("managed", managed)):
    address = int(memory)
    ctypes.memmove(address, data, SIZE)
    check(hip.hipMemcpy(device, memory, SIZE, hip.hipMemcpyKind.hipMemcpyDefault))
    ctypes.memset(address, 0, SIZE)
    check(hip.hipMemcpy(memory, device, SIZE, hip.hipMemcpyKind.hipMemcpyDefault))
    same = ctypes.string_at(address, SIZE) == data
    print(f"round trip of {SIZE} bytes, {name}:", "right" if same else "WRONG")
    assert same
check(hip.hipFree(managed))
check(hip.hipHostFree(pinned))
check(hip.hipFree(device))

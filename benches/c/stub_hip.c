/* A stand-in for libamdhip64 whose calls cost next to nothing, so that what an interposer
 * adds can be measured. It claims one device, at the PCI address of the first simulated GPU. */
#include <stddef.h>
#include <stdio.h>

static char memory[4096];

int hipHostMalloc(void **ptr, size_t size, unsigned flags)
{
	*ptr = memory + (size + flags) % sizeof memory;
	return 0;
}

int hipHostFree(void *ptr) { return ptr == NULL; }
int hipGetDevice(int *device) { *device = 0; return 0; }
int hipDeviceGetPCIBusId(char *id, int length, int device)
{
	snprintf(id, length, "0000:%02x:00.0", 3 + device);
	return 0;
}
int hipDeviceGetAttribute(int *value, int attribute, int device)
{
	*value = attribute + device;
	return 0;
}
int hipRuntimeGetVersion(int *version) { *version = 60400000; return 0; }
int hipGetLastError(void) { return 0; }
int hipPeekAtLastError(void) { return 0; }
int hipMemAdvise(const void *ptr, size_t size, int advice, int device)
{
	return ptr == NULL || size == 0 || advice != 100 || device != 0;
}

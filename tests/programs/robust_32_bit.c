/* A 32-bit program; without a C library, so that it needs nothing but the loader to run. */
static int call(int number, int first, const void *second, int third)
{
	int result;
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(first), "c"(second), "d"(third)
			 : "memory");
	return result;
}

void _start(void)
{
	static const char text[] = "32 bits\n";
	call(4 /* write */, 1, text, sizeof text - 1);
	call(1 /* exit */, 11, 0, 0);
}

/* Has the settings parser of the real libc10 read the environment, and writes what it made of
 * it. Then the runtime setter, which forgets what it is not given. */
#include <c10/core/AllocatorConfig.h>

#include <cstdio>
#include <exception>

using Config = c10::CachingAllocator::AcceleratorAllocatorConfig;

static void show(const char *when)
{
	size_t split = Config::max_split_size();
	if (split == SIZE_MAX)
		printf("%s: split unlimited", when);
	else
		printf("%s: split %zu MB", when, split >> 20);
	printf(", gc %.2f, expandable %d, large segments %zu MB\n", Config::garbage_collection_threshold(),
	       Config::use_expandable_segments(), Config::large_segment_size() >> 20);
}

int main()
{
	try {
		show("start");
		printf("text: %s\n", Config::last_allocator_settings().c_str());
		c10::CachingAllocator::setAllocatorSettings("expandable_segments:False");
		show("setter");
	} catch (const std::exception &error) {
		/* Its first line; where it was thrown comes after it. */
		printf("refused: %.60s\n", error.what());
	}
	return 0;
}

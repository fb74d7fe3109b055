/* A signal handler, on a stack of its own, that allocates: at the first use of the GPU, or
 * later. */
#define _GNU_SOURCE
#include "robust.h"
#include <signal.h>

static char stack[512 << 10];

static void handler(int number)
{
	(void)number;
	use_gpu("handler");
}

int main(int argc, char **argv)
{
	stack_t own = { .ss_sp = stack, .ss_size = sizeof stack };
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
	sigaltstack(&own, NULL);
	sigaction(SIGUSR1, &action, NULL);
	if (argc > 1 && !strcmp(argv[1], "later") && use_gpu("program, first"))
		return 1;
	raise(SIGUSR1);
	return use_gpu("program");
}

// The same as C++.
#include "../../patches/policy/rdnafix_policy.h"
#include "policy_header.c"

#include "real.h"

struct real real_table;

void real_resolve(void)
{
#define X(name) real_table.name = (__typeof__(name) *)dlsym(RTLD_NEXT, #name);
    REAL_CALLS(X)
#undef X
    real_table.ready = true;
}
